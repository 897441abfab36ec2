    printf("  -rtr, --run-time-repack <0|1>       (default: %s)\n", cmd_params_defaults.repack ? "1" : "0");
        } else if (arg == "-no-fug" || arg == "--no-fused-up-gate") {
        }
