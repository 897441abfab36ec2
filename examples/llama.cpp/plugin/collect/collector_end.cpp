// The end of a pass: what the file had, what is added to it, and what is said.
#include "collector.hpp"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <iomanip>
#include <locale>
#include <sstream>
#include <thread>

namespace plugin::collect {

// -------------------------------------------------------------------------------------------------- the old file

bool collector::has(const matrix & m, bool & fits) const {
    const auto        experts = old.metadata.find(m.name + ".experts");
    const bool        is_mixture = experts != old.metadata.end();
    const std::string begin = m.name + ".";
    const auto        tensor = is_mixture ? old.tensors.lower_bound(begin) : old.tensors.find(begin + "gram");
    const bool        found = tensor != old.tensors.end() && tensor->first.compare(0, begin.size(), begin) == 0;
    const uint64_t    bytes = uint64_t(m.columns) * uint64_t(m.columns + 1) / 2 * sizeof(float);
    fits = (is_mixture ? experts->second : "0") == std::to_string(m.experts);
    fits = fits && (!found || tensor->second.bytes == bytes);
    return found || is_mixture;
}

uint64_t collector::number(const std::string & key) const {
    const auto found = old.metadata.find(key);
    return found == old.metadata.end() ? 0 : std::strtoull(found->second.c_str(), nullptr, 10);
}

// Numbers with a point, whatever the host's language has.
double collector::measured(const std::string & key) const {
    const auto         found = old.metadata.find(key);
    std::istringstream text(found == old.metadata.end() ? "" : found->second);
    double             value = 0;
    text.imbue(std::locale::classic());
    return text >> value ? value : 0;
}

// Rows that the file has of a matrix.
int64_t collector::counted(const matrix & m) const {
    if (m.experts == 0) return int64_t(number(m.name + ".count"));
    uint64_t sum = 0;
    for (int64_t i = 0; i < m.experts; ++i) sum += number(m.name + "." + std::to_string(i) + ".count");
    return int64_t(sum);
}

// -------------------------------------------------------------------------------------------------- the new file

// What was read again must be as it was when the file was written.
std::string collector::check_kept() const {
    for (const matrix & m : all) {
        if (m.state != matrix::kept || m.same) continue;
        const double then = measured(m.name + ".trace");
        if (m.rows == counted(m) && std::abs(m.squares - then) <= 3e-4 * std::abs(then)) continue;
        return set.file + " was begun with another model, text or setting, in which " + m.name + " had other inputs: "
               "run the same command for each pass, or name another file";
    }
    return {};
}

void collector::flush_rest() {
    auto work = [this](int ith, int nth) {
        for (matrix & m : all) {
            for (sums & s : m.parts) {
                if (s.n_waiting() == 0) continue;
                for (int64_t block = ith; block < s.n_blocks(); block += nth) s.flush(block, s.n_waiting());
            }
        }
    };
    std::vector<std::thread> others;
    int                      started = 1;
    try {
        for (; started < n_threads; ++started) others.emplace_back(work, started, n_threads);
    } catch (const std::exception &) { // no more threads here: their share comes afterwards
    }
    work(0, n_threads);
    for (std::thread & other : others) other.join();
    for (; started < n_threads; ++started) work(started, n_threads);
    for (matrix & m : all) {
        for (sums & s : m.parts) s.count(0, 0);
    }
}

std::string collector::write_file() {
    auto metadata = old.metadata;
    auto put = [&](const std::string & key, double value) {
        std::ostringstream text;
        text.imbue(std::locale::classic());
        text << std::setprecision(17) << value;
        metadata[key] = text.str();
    };
    metadata["format"] = "sparamx-gram-1";
    metadata["tokens"] = std::to_string(tokens);
    metadata["missing"] = std::to_string(n_of(matrix::waiting, true));
    metadata["passes"] = std::to_string(number("passes") + 1);
    if (!model.empty()) metadata["model"] = model;
    put("start", old.exists ? measured("start") : start);

    std::map<std::string, new_tensor> tensors; // in the order of their keys, whatever pass they come from
    for (const auto & [key, range] : old.tensors) {
        tensors[key] = new_tensor{ key, range.bytes, copied(set.file, old, range) };
    }
    for (matrix & m : all) {
        metadata.erase(m.name + ".same_as");
        if (m.same && m.state != matrix::waiting) metadata[m.name + ".same_as"] = m.same->name;
        if (m.same || m.state != matrix::collected) continue;
        put(m.name + ".trace", m.squares);
        if (m.experts > 0) metadata[m.name + ".experts"] = std::to_string(m.experts);
        for (size_t i = 0; i < m.parts.size(); ++i) {
            const sums &      part = m.parts[i];
            const std::string stem = m.experts > 0 ? m.name + "." + std::to_string(i) : m.name;
            metadata[stem + ".count"] = std::to_string(part.count());
            if (!part.is_made()) continue;
            const int64_t  k = m.columns;
            const uint64_t bytes = uint64_t(k) * uint64_t(k + 1) / 2 * sizeof(float);
            tensors[stem + ".gram"] = new_tensor{ stem + ".gram", bytes, [&part, k](const sink & accept) {
                std::vector<float> row(static_cast<size_t>(k));
                for (int64_t i = 0; i < k; ++i) {
                    part.read(i, row.data());
                    if (!accept(row.data(), size_t(i + 1) * sizeof(float))) return false;
                }
                return true;
            } };
        }
    }
    std::vector<new_tensor> list;
    for (auto & entry : tensors) list.push_back(entry.second);
    return write(set.file, metadata, list, old);
}

void collector::finish(int status) {
    const std::string not_written = set.file + " was not written: ";
    if (status != 0) return set.say(not_written + "the host ended with status " + std::to_string(status));
    std::lock_guard<std::mutex> lock(one_at_a_time); // not with a status: a signal may have come inside of it
    if (!failure.empty()) return set.say(not_written + failure);
    if (all.empty()) return set.say(not_written + "the host computed no product of a weight on this CPU");
    if (is_complete) return;
    if (warming_up || tokens == 0) return set.say(not_written + "the host computed no text");
    if (evaluation == 1) tell_plan();
    if (is_complete) return;
    if (is_start && !check_start()) return set.say(not_written + failure);
    std::string why = check_kept();
    if (why.empty() && old.is_stale(set.file)) why = "another process has written it meanwhile";
    if (why.empty()) {
        flush_rest();
        why = write_file();
    }
    if (!why.empty()) return set.say(not_written + why);
    const uint64_t done = n_of(matrix::kept, true) + n_of(matrix::collected, true);
    char           time[64];
    std::snprintf(time, sizeof(time), "%.2f ms per token", 1e3 * seconds / double(tokens));
    set.say(set.file + " has the inputs of " + std::to_string(done) + " of " + std::to_string(all.size()) +
            " matrices, from " + std::to_string(tokens) + " tokens (" + time + " for the sums); " + pass() +
            (done < all.size() ? ": run the same command again" : ", which is all"));
}

} // namespace plugin::collect
