"""The compiled half. It is optional: where no C compiler is, the package installs without it and says so."""

from pathlib import Path

from setuptools import Extension, setup

HERE = Path(__file__).parent

setup(
    ext_modules=[
        Extension(
            "aigc_sdk_kernels.compiled",
            sources=sorted(str(each.relative_to(HERE)) for each in HERE.glob("src/*.c")),
            depends=sorted(str(each.relative_to(HERE)) for each in HERE.glob("src/*.h")),
            extra_compile_args=["-std=gnu11", "-O3", "-fvisibility=hidden", "-pthread"],
            extra_link_args=["-pthread", "-lm"],
            optional=True,
        )
    ]
)
