// Only where this folder itself is compiled in: else the header is written here.
#pragma once

#include PODTRACE_MACHINE_H
