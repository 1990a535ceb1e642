// What the processor offers. See odise_trt/backends/processor.py and threads.py.
#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <thread>

#include "engine.hpp"

namespace odise {

namespace {

// Arithmetic -> flags, on x86 and on ARM. One of them is enough.
const std::map<std::string, std::set<std::string>> flags = {
    {"bf16", {"avx512_bf16", "amx_bf16", "bf16"}},
    {"int8", {"avx512_vnni", "avx_vnni", "amx_int8", "i8mm", "asimddp"}},
};

// Processors that a control group allows, from a line "QUOTA PERIOD". 0: no limit.
double quota(const std::string& path) {
    std::ifstream file(path);
    double allowed = 0, period = 0;
    return file >> allowed >> period && period > 0 && allowed > 0 ? allowed / period : 0;
}

}  // namespace

int available_threads() {
    cpu_set_t set;
    int count = ::sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set)
                                                              : static_cast<int>(std::thread::hardware_concurrency());
    std::vector<std::string> folders = {""};
    std::ifstream own("/proc/self/cgroup");
    for (std::string line; std::getline(own, line);) {
        // Of version 2: "0::/path". Limits of the groups around it count, too.
        if (line.rfind("0::", 0) != 0) continue;
        for (std::string path = line.substr(3); path.size() > 1; path.erase(path.rfind('/'))) folders.push_back(path);
    }
    for (const std::string& folder : folders) {
        const double limit = quota("/sys/fs/cgroup" + folder + "/cpu.max");
        if (limit > 0) count = std::min(count, static_cast<int>(std::ceil(limit)));
    }
    return std::max(1, count);
}

bool has_arithmetic(const std::string& name) {
    const auto wanted = flags.find(name);
    if (wanted == flags.end()) return false;
    std::ifstream file("/proc/cpuinfo");
    for (std::string line; std::getline(file, line);) {
        if (line.rfind("flags", 0) != 0 && line.rfind("Features", 0) != 0) continue;
        std::istringstream words(line.substr(std::min(line.find(':'), line.size() - 1) + 1));
        for (std::string word; words >> word;) {
            if (wanted->second.count(word) > 0) return true;
        }
        return false;
    }
    return false;
}

}  // namespace odise
