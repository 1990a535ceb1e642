"""What pyproject.toml cannot say: a wheel holds the runtime, `odise_trt`, alone.

It installs and runs without torch. The toolkit around it (`reference`, `export`, `benchmarks`) is used from a
checkout, `pip install -e ".[cpu,export]"`.
"""

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py


class RuntimeOnly(build_py):
    """Leave the toolkit out of wheels: top-level names like `export` belong to a checkout."""

    def finalize_options(self) -> None:
        """See setuptools."""
        super().finalize_options()
        if not self.editable_mode:
            self.packages = find_packages(include=["odise_trt", "odise_trt.*"])


setup(cmdclass={"build_py": RuntimeOnly})
