// The process-wide locks, as fork.c takes them. Each is held for a moment only, and never while foreign code runs.
#pragma once
#include <stdbool.h>

void sx_once_before_fork(void);
void sx_once_after_fork(bool child);
void sx_profile_before_fork(void);
void sx_profile_after_fork(bool child);
void sx_log_before_fork(void);
void sx_log_after_fork(bool child);
