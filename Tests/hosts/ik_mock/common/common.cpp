    if (arg == "-rtr" || arg == "--run-time-repack") {
        params.repack_tensors = true;
        return true;
    }
    options.push_back({ "*",           "-rtr,   --run-time-repack",
                        "repack tensors if interleaved variant is available"});
