// BCC includes this file before everything else, so all that programs need of the kernel is here.
#pragma once

#define CONFIG_BPF_SYSCALL 1
// Layouts are those of the running kernel: nothing is left to relocate.
#define BPF_NO_PRESERVE_ACCESS_INDEX 1

#include <podtrace/machine.h>
#include <linux/types.h>
#include <podtrace/constants.h>
#include <podtrace/kernel.h>
