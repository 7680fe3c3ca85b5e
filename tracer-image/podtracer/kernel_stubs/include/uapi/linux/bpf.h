// Included by BCC or by its habits; linux/kconfig.h has brought everything already.
#pragma once
