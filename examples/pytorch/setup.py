"""The tag of the wheel: any Python 3, and the oldest glibc that the library inside runs with."""

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel

PLATFORM = "manylinux_2_34_x86_64"


class WithMachineCode(Distribution):
    """A package that goes where machine code goes."""

    def has_ext_modules(self) -> bool:
        """It has a library inside, though none that is built here."""
        return True


class Wheel(bdist_wheel):
    """A wheel that no version of Python matters to."""

    def get_tag(self) -> tuple[str, str, str]:
        """The three parts of the tag."""
        return "py3", "none", PLATFORM


setup(cmdclass={"bdist_wheel": Wheel}, distclass=WithMachineCode)
