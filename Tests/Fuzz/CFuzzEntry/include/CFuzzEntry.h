#pragma once
// The entry point of every fuzz target. SwiftPM gives each executable's main a name of its own and points `main` at that
// name, so libFuzzer's own main is never reached: this one takes its place (see `fuzzer` in Package.swift).
int drover_fuzz_main(int argc, char **argv);
