#pragma once

#include <podtrace/machine.h>
