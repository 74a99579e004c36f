// Libraries that the program does not link, because they are there on a GPU's machine only or libtorch has its own way to find them.
#pragma once

#include <ATen/DynamicLibrary.h>

#include <string>

// Opened by libtorch, which looks where its own libraries are.
struct Library {
  explicit Library(const std::string &name) : library(name.c_str(), nullptr, /*leak_handle=*/true) {}

 protected:
  mutable at::DynamicLibrary library;
};

// A function of the library, under its own name and type.
#define SYMBOL(name) decltype(&::name) name = reinterpret_cast<decltype(&::name)>(library.sym(#name));
