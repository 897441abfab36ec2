"""rpc-servers of the host's, unmodified, each on a machine of its own as far as this one can pretend: in a network
namespace with a link to it, where the tests may make one, else on the loopback device."""

import itertools
import os
import re
import shutil
import socket
import subprocess
import time
import warnings

import build_host
from conftest import clean_environment, our_lines, reference

STARTING = 60
numbers = itertools.count()


def quietly(*command):
    return subprocess.run(command, capture_output=True, text=True).returncode == 0


class Machine:
    """with Machine() as machine: machine.address is reached from here, machine.prefix runs a command there."""

    def __enter__(self):
        number = next(numbers) % 250
        self.name = f"spx{os.getpid()}n{number}"
        link, here, there = f"spx{number}h", f"198.18.{number}.1", f"198.18.{number}.2"
        self.prefix = ["ip", "netns", "exec", self.name]
        self.address = there
        steps = (["ip", "netns", "add", self.name],
                 ["ip", "link", "add", link, "type", "veth", "peer", "name", "spx", "netns", self.name],
                 ["ip", "address", "add", f"{here}/30", "dev", link], ["ip", "link", "set", link, "up"],
                 [*self.prefix, "ip", "address", "add", f"{there}/30", "dev", "spx"],
                 [*self.prefix, "ip", "link", "set", "spx", "up"])
        if not (shutil.which("ip") and os.geteuid() == 0 and all(quietly(*step) for step in steps)):
            self.__exit__()
            warnings.warn("no network namespaces here: the servers are on the loopback device")
            self.prefix, self.address = [], "127.0.0.1"
        return self

    def __exit__(self, *_):
        if self.prefix and shutil.which("ip"):
            quietly("ip", "netns", "delete", self.name)  # and the link with it


class RpcServer:
    """with RpcServer(host, log, plugin=..., device=..., VARIABLE=...) as server"""

    def __init__(self, host, log, plugin=True, device=None, more=(), **environment):
        build_host.add_tools(host.kind, ["ggml-rpc-server"])
        self.host, self.path, self.plugin, self.device = host, log, plugin, device
        self.more, self.environment = more, environment

    def __enter__(self):
        self.machine = Machine().__enter__()
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def start(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        variables = {"OMP_WAIT_POLICY": "passive"}
        if self.plugin:
            variables |= {"SPARAMX_LIB": self.host.library, "SPARAMX_MODE": "rpc", **reference(),
                          "GGML_BACKEND_PATH": self.host.plugin}
        device = self.device or ("SPARAMX" if self.plugin else "CPU")
        command = [*self.machine.prefix, self.host.bin / "ggml-rpc-server", "-H", self.machine.address, "-p", self.port,
                   "-t", 2, "-d", device, *self.more]
        with open(self.path, "w") as file:
            self.process = subprocess.Popen(list(map(str, command)), env=clean_environment(**variables,
                                                                                           **self.environment),
                                            stdin=subprocess.DEVNULL, stdout=file, stderr=file)
        end = time.monotonic() + STARTING
        while time.monotonic() < end and self.process.poll() is None:
            with socket.socket() as client:
                client.settimeout(1)
                if client.connect_ex((self.machine.address, self.port)) == 0:
                    return
            time.sleep(0.05)
        raise AssertionError(f"rpc-server does not listen (status {self.process.poll()}): {self.log()[-4000:]}")

    def __exit__(self, *_):
        if hasattr(self, "process"):
            self.process.kill()
            self.process.wait()
        self.machine.__exit__()

    @property
    def endpoint(self):
        return f"{self.machine.address}:{self.port}"

    def log(self):
        return self.path.read_text(errors="backslashreplace")

    def took(self):
        """What the plugin took, a model each: matrices, MB as they came, MB packed."""
        found = (re.search(r"took (\d+) matri\w+, ([0-9.]+) MB packed to ([0-9.]+) MB", line)
                 for line in our_lines(self.log()))
        return [(int(m[1]), float(m[2]), float(m[3])) for m in found if m]

    def kib(self, field):
        """Of the server's memory: VmHWM, RssAnon."""
        status = open(f"/proc/{self.process.pid}/status").read()
        return int(re.search(rf"^{field}:\s+(\d+) kB", status, re.M)[1])
