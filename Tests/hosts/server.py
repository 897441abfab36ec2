"""A llama-server of the host's, on a port of its own of the loopback device, and what is asked of it."""

import json
import re
import subprocess
import time
import urllib.error
import urllib.request

import build_host
from conftest import our_lines

STARTING, ANSWERING = 120, 300  # seconds, at the reference level on a busy machine
LISTENING = re.compile(r"listening on http://127\.0\.0\.1:(\d+)")


class Server:
    """with Server(host, log, model, ARGUMENT..., plugin=..., VARIABLE=...) as server"""

    def __init__(self, host, log, model, *arguments, **options):
        build_host.add_tools(host.kind, ["llama-server"])
        self.path = log
        command, environment = host.command("llama-server", "-m", model, "--host", "127.0.0.1", "--port", 0, "-c", 2048,
                                            "-t", 2, *arguments, **options)
        with open(log, "w") as file:
            self.process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=file,
                                            stderr=file)

    def __enter__(self):
        try:
            self.port = self.wait_for_port()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        """As a user ends it. One that does not end by itself is a fault, but not one that stays."""
        self.process.terminate()
        try:
            self.process.wait(60)
        finally:
            self.process.kill()
            self.process.wait()

    def wait_for_port(self):
        end = time.monotonic() + STARTING
        while time.monotonic() < end and self.process.poll() is None:
            found = LISTENING.search(self.log())
            if found:
                return int(found[1])
            time.sleep(0.05)
        raise AssertionError(f"llama-server does not listen (status {self.process.poll()}): {self.log()[-4000:]}")

    def log(self):
        return self.path.read_text(errors="backslashreplace")

    def took(self):
        """The numbers of matrices that the plugin took, a model each."""
        return [int(re.search(r"took (\d+) matri", line)[1]) for line in our_lines(self.log()) if "took" in line]

    def ask(self, where, body=None):
        """The answer, as text or from JSON."""
        data = None if body is None else json.dumps(body).encode()
        address = f"http://127.0.0.1:{self.port}{where}"
        request = urllib.request.Request(address, data, {"Content-Type": "application/json"})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=ANSWERING) as response:
                text = response.read().decode()
        except OSError as error:
            said = error.read().decode(errors="replace") if isinstance(error, urllib.error.HTTPError) else ""
            raise AssertionError(f"{where}: {error} {said}\n{self.log()[-4000:]}") from None
        return json.loads(text) if text.startswith(("{", "[")) else text

    def complete(self, prompt, n, **more):
        """What the server answers, with n tokens of the greatest probability."""
        answer = self.ask("/completion", {"prompt": prompt, "n_predict": n, "temperature": 0, "return_tokens": True,
                                          "cache_prompt": False, **more})
        assert len(answer["tokens"]) == n, answer
        return answer
