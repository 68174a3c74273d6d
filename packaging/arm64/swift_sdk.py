"""The Pi as a Swift SDK: where its libraries are, and what the compiler is to be told."""

import json
from pathlib import Path

import chroot

NAME = "debian-arm64"
TRIPLE = "aarch64-unknown-linux-gnu"
SHIM = Path(__file__).parent / "glibc236.c"
# Plain ARMv8.0. With -mcpu=cortex-a72 clang would believe that the chip has AES.
MARCH = "-march=armv8-a"
# Of the arm64 packages only the library is used: the compiler in them is for arm64 too.
LEFT_OUT = (
    "./usr/share", "./usr/bin", "./usr/lib", "./usr/libexec/swift/bin",
    "./usr/libexec/swift/share",
    "./usr/libexec/swift/libexec", "./usr/libexec/swift/include", "./usr/libexec/swift/local",
    "./usr/libexec/swift/lib/lib*", "./usr/libexec/swift/lib/python*",
    "./usr/libexec/swift/lib/swift/embedded", "./usr/libexec/swift/lib/swift/host",
    "./usr/libexec/swift/lib/swift/FrameworkABIBaseline",
    "./usr/libexec/swift/lib/swift/migrator")
# Debian 13 has it by another name than Debian 12: it becomes part of the program.
STATIC = "libunistring"
TRANSFORM = r"s#^\./usr/libexec/swift/lib/#./usr/lib/#"


def complete(tools, sysroot):
    """Makes of Debian's packages what a program for several releases is linked with."""
    # Without it the linker takes the static library.
    (sysroot / f"usr/lib/aarch64-linux-gnu/{STATIC}.so").unlink()
    compile_object = ["clang", f"--target={TRIPLE}", "--sysroot=/sysroot", MARCH, "-O2", "-fPIC"]
    chroot.run(
        tools, [*compile_object, "-x", "c", "-c", "-", "-o", "/sysroot/usr/lib/glibc236.o"],
        binds={sysroot: "/sysroot"}, input=SHIM.read_text())
    # Its module is there and autolinks a library which is not. Nothing of it is called.
    chroot.run(
        tools, ["llvm-ar", "rcs", "/sysroot/usr/lib/swift/linux/lib_Testing_Foundation.a"],
        binds={sysroot: "/sysroot"})


def write(directory):
    """The bundle of files that `swift build --swift-sdk` reads."""
    bundle = directory / f"{NAME}.artifactbundle"
    (bundle / "pi").mkdir(parents=True, exist_ok=True)
    # Debian's compiler says pc, swift.org's unknown.
    hosts = ["x86_64-pc-linux-gnu", "x86_64-unknown-linux-gnu"]
    put(bundle / "info.json", {
        "schemaVersion": "1.0",
        "artifacts": {NAME: {
            "type": "swiftSDK", "version": "1",
            "variants": [{"path": "pi", "supportedTriples": hosts}]}}})
    put(bundle / "pi/swift-sdk.json", {
        "schemaVersion": "4.0",
        "targetTriples": {TRIPLE: {
            "sdkRootPath": "/sysroot",
            "swiftResourcesPath": "/sysroot/usr/lib/swift",
            "swiftStaticResourcesPath": "/sysroot/usr/lib/swift_static",
            "toolsetPaths": ["toolset.json"]}}})
    put(bundle / "pi/toolset.json", {
        "schemaVersion": "1.0", "rootPath": "/usr/libexec/swift/bin",
        "swiftCompiler": {"extraCLIOptions": ["-use-ld=lld", "-Xcc", MARCH]},
        "cCompiler": {"extraCLIOptions": [MARCH]},
        "cxxCompiler": {"extraCLIOptions": [MARCH]},
        "linker": {"extraCLIOptions": ["/sysroot/usr/lib/glibc236.o"]}})


def put(path, value):
    path.write_text(json.dumps(value, indent=2) + "\n")
