#include "collector.hpp"

#include <cfloat>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <thread>

namespace plugin::collect {
namespace {

using clock = std::chrono::steady_clock;

double seconds_since(clock::time_point then) { return std::chrono::duration<double>(clock::now() - then).count(); }

std::string of(uint64_t n, uint64_t all, const char * what) {
    return std::to_string(n) + " of " + std::to_string(all) + " " + what;
}

uint64_t cost(int64_t columns, int64_t experts) {
    return sums::bytes_for(columns, sums::capacity_for(columns, experts > 0)) * uint64_t(experts > 0 ? experts : 1);
}

// The host warms up with a batch of one or two tokens, which belong to no text.
constexpr int64_t warm_up_tokens = 2;

} // namespace

bool collector::fail(const std::string & why) {
    failure = why;
    set.say(why + ". Nothing more is collected");
    for (matrix & m : all) m.parts = std::vector<sums>();
    return false;
}

std::string collector::open(const settings & wanted) {
    set = wanted;
    memory_left = set.memory;
    matrices_left = set.matrices ? set.matrices : UINT64_MAX;
    std::string why = resolve(wanted.file, set.file);
    if (why.empty()) why = old.read(set.file);
    if (why.empty()) why = check_writable(set.file);
    return failure = why;
}

// ---------------------------------------------------------------------------------------------------- one product

// On one thread: what the product's rows are added to. False: to nothing.
bool collector::begin(const product & p, int nth) {
    entered = clock::now();
    if (!failure.empty() || is_complete) return false;
    if (all.empty()) {
        began = told = entered;
        model = set.name_model ? set.name_model() : std::string();
        warming_up = p.tokens <= warm_up_tokens;
        evaluation = 1;
    }
    n_threads = nth;
    squares.assign(size_t(nth), 0.0);
    return find(p) && !is_complete && prepare(p);
}

bool collector::find(const product & p) {
    matrix *& known = by_name[p.name];
    if (known && known->evaluation == evaluation && !next_evaluation()) return false;
    if (!known) {
        all.emplace_back();
        known = &all.back();
        known->name = p.name;
        known->weight = p.weight;
        known->columns = p.columns;
        known->experts = p.experts;
        if (!place(*known, p)) return false;
    }
    at = known;
    if (at->weight != p.weight || at->columns != p.columns || at->experts != p.experts) {
        return fail("there are two models in this process that have a matrix " + at->name + ": collect with one alone");
    }
    at->evaluation = evaluation;
    at->from = p.from;
    ++at->products;
    if (at->same && (at->same->products != at->products || !(at->same->from == p.from))) {
        return fail(at->name + " had the inputs of " + at->same->name + " and now has others: collect with one context, and "
                    "leave one of the two out (SPARAMX_LEAVE)");
    }
    return true;
}

// Of a matrix that is new: whether it is collected in this pass.
bool collector::place(matrix & m, const product & p) {
    for (matrix & other : all) {
        if (&other == &m || other.same || other.evaluation != evaluation || !(other.from == p.from)) continue;
        if (other.columns != m.columns || other.experts != m.experts) continue;
        m.same = &other;
        m.products = other.products - 1;
        m.state = other.state;
        return true;
    }
    bool fits = true;
    if (has(m, fits)) {
        m.state = matrix::kept;
        return fits || fail(set.file + " is of another model, in which " + m.name + " has other dimensions: name another file");
    }
    const uint64_t bytes = cost(m.columns, m.experts);
    if (bytes > set.memory) {
        return fail("the sums for " + m.name + " take " + std::to_string((bytes >> 20) + 1) + " MiB, and " +
                    std::to_string(set.memory >> 20) + " MiB may be taken: raise SPARAMX_COLLECT_MEMORY, or leave it out "
                    "(SPARAMX_LEAVE)");
    }
    if (matrices_left == 0 || bytes > memory_left) return true;
    --matrices_left;
    memory_left -= bytes;
    m.state = matrix::collected;
    m.parts = std::vector<sums>(size_t(m.experts > 0 ? m.experts : 1));
    return true;
}

bool collector::prepare(const product & p) {
    if (warming_up || at->same) return false;
    if (at == &all.front()) tokens += p.tokens;
    at->rows += int64_t(p.rows.size());
    if (at->state == matrix::waiting && !is_start) return false;
    rows.clear();
    rounds.clear();
    if (at->state != matrix::collected) {
        for (const input_row & row : p.rows) rows.push_back(row.at);
        return true;
    }
    std::vector<size_t> first(at->parts.size() + 1, 0); // sorted by expert, otherwise as they come
    for (const input_row & row : p.rows) ++first[size_t(row.expert) + 1];
    for (size_t i = 0; i < at->parts.size(); ++i) {
        sums & part = at->parts[i];
        if (first[i + 1] > 0 && !part.is_made() && !part.make(at->columns, sums::capacity_for(at->columns, at->experts > 0))) {
            return fail("there is no memory for the sums of " + at->name + ": lower SPARAMX_COLLECT_MEMORY");
        }
        first[i + 1] += first[i];
    }
    auto next = first;
    rows.resize(p.rows.size());
    for (const input_row & row : p.rows) rows[next[size_t(row.expert)]++] = row.at;
    plan_rounds(first);
    return true;
}

// Part i has the rows from first[i] to first[i + 1]. In each round as many of them as there is room for.
void collector::plan_rounds(const std::vector<size_t> & first) {
    for (size_t i = 0; i + 1 < first.size(); ++i) {
        sums & to = at->parts[i];
        size_t from = first[i];
        int    waits = to.n_waiting();
        for (size_t r = 0; from < first[i + 1]; ++r) {
            if (r == rounds.size()) rounds.emplace_back();
            const size_t left = first[i + 1] - from, room = size_t(to.capacity() - waits);
            const int    n = int(left < room ? left : room);
            rounds[r].shares.push_back(share{ &to, from, n, waits });
            from += size_t(n);
            waits += n;
            if (waits < to.capacity()) break;
            rounds[r].full.push_back(&to);
            waits = 0;
        }
        to.count(int64_t(first[i + 1] - first[i]), waits);
    }
}

// On all threads: takes the rows of the round.
void collector::append(round & r, int ith) {
    const int64_t panels = r.shares[0].to->n_panels();
    for (int64_t i; (i = r.next_panel++) < panels * int64_t(r.shares.size());) {
        const share & s = r.shares[size_t(i / panels)];
        squares[size_t(ith)] += s.to->append(i % panels, s.at, &rows[s.first], s.count);
    }
}

// On all threads: adds up what is full.
void collector::flush(round & r) {
    if (r.full.empty()) return;
    const int64_t blocks = r.full[0]->n_blocks();
    for (int64_t i; (i = r.next_block++) < blocks * int64_t(r.full.size());) {
        sums & to = *r.full[size_t(i / blocks)];
        to.flush(i % blocks, to.capacity());
    }
}

// On all threads, where nothing is added up: the squares of the inputs alone.
void collector::measure(int ith, int nth) {
    double sum = 0;
    for (size_t t = size_t(ith); t < rows.size(); t += size_t(nth)) {
        for (int64_t c = 0; c < at->columns; ++c) sum += double(rows[t][c]) * rows[t][c];
    }
    squares[size_t(ith)] = sum;
}

void collector::end() {
    double sum = 0;
    for (const double part : squares) sum += part;
    at->squares += sum;
    if (is_start) start += sum / double(at->columns);
    if (!std::isfinite(sum)) {
        fail("the inputs of " + at->name + " hold NaN or infinity");
    } else if (at->squares > FLT_MAX) {
        fail("the inputs of " + at->name + " are too large: their squares add up to more than float32 can hold");
    }
    tell_progress();
}

void collector::add(const std::function<product()> & describe, const member & me) {
    if (me.ith == 0) {
        one_at_a_time.lock();
        try {
            active = begin(describe(), me.nth);
        } catch (const std::bad_alloc &) {
            active = fail("there is no memory for another product");
        }
    }
    me.barrier();
    if (active && rounds.empty()) measure(me.ith, me.nth);
    for (size_t i = 0; active && i < rounds.size(); ++i) {
        if (i > 0) me.barrier();
        append(rounds[i], me.ith);
        me.barrier();
        flush(rounds[i]);
    }
    me.barrier();
    if (me.ith == 0) {
        if (active) end();
        seconds += seconds_since(entered);
        one_at_a_time.unlock();
    }
}

// -------------------------------------------------------------------------------------------------------- passes

// A matrix comes again: another batch of tokens.
bool collector::next_evaluation() {
    ++evaluation;
    if (warming_up) {
        warming_up = false;
        tell_plan();
        return true;
    }
    if (!is_start) return true;
    if (evaluation == 2) tell_plan();
    return is_complete || check_start();
}

// The first batch tells another text, model or setting from that of the passes before.
bool collector::check_start() {
    is_start = false;
    if (!old.exists) return true;
    const double then = measured("start");
    if (std::abs(start - then) <= 3e-4 * std::abs(then)) return true;
    return fail(set.file + " was begun with another model, text or setting: run the same command for each pass, or name "
                "another file");
}

bool collector::has(const matrix & m, bool & fits) const {
    const auto        experts = old.metadata.find(m.name + ".experts");
    const bool        is_mixture = experts != old.metadata.end();
    const std::string begin = m.name + ".";
    const auto        tensor = is_mixture ? old.tensors.lower_bound(begin) : old.tensors.find(begin + "gram");
    const bool        found = tensor != old.tensors.end() && tensor->first.compare(0, begin.size(), begin) == 0;
    const uint64_t    bytes = uint64_t(m.columns) * uint64_t(m.columns + 1) / 2 * sizeof(float);
    fits = (is_mixture ? experts->second : "0") == std::to_string(m.experts) && (!found || tensor->second.bytes == bytes);
    return found || is_mixture;
}

uint64_t collector::number(const std::string & key) const {
    const auto found = old.metadata.find(key);
    return found == old.metadata.end() ? 0 : std::strtoull(found->second.c_str(), nullptr, 10);
}

double collector::measured(const std::string & key) const {
    const auto found = old.metadata.find(key);
    return found == old.metadata.end() ? 0 : std::strtod(found->second.c_str(), nullptr);
}

// Rows that the file has of a matrix.
int64_t collector::counted(const matrix & m) const {
    if (m.experts == 0) return int64_t(number(m.name + ".count"));
    uint64_t sum = 0;
    for (int64_t i = 0; i < m.experts; ++i) sum += number(m.name + "." + std::to_string(i) + ".count");
    return int64_t(sum);
}

uint64_t collector::n_of(int state, bool also_shared) const {
    uint64_t n = 0;
    for (const matrix & m : all) n += m.state == state && (also_shared || !m.same);
    return n;
}

// How many times the text must be read again after this pass.
uint64_t collector::passes_after() const {
    std::vector<uint64_t> left;
    for (const matrix & m : all) {
        if (m.state == matrix::waiting && !m.same) left.push_back(cost(m.columns, m.experts));
    }
    uint64_t passes = 0;
    for (; !left.empty(); ++passes) {
        std::vector<uint64_t> next;
        uint64_t              memory = set.memory, matrices = set.matrices ? set.matrices : UINT64_MAX;
        for (const uint64_t bytes : left) {
            if (matrices == 0 || bytes > memory) {
                next.push_back(bytes);
                continue;
            }
            memory -= bytes;
            --matrices;
        }
        left = next;
    }
    return passes;
}

std::string collector::pass() const {
    const uint64_t now = number("passes") + 1;
    return "pass " + std::to_string(now) + " of " + std::to_string(now + passes_after());
}

void collector::tell_plan() {
    const uint64_t collected = n_of(matrix::collected, true);
    if (collected + n_of(matrix::waiting, true) == 0) {
        is_complete = true;
        set.say(set.file + " is complete, with " + std::to_string(all.size()) + " matrices: nothing is left to collect");
        return;
    }
    set.say("collecting the inputs of " + of(collected, all.size(), "matrices") + " in " +
            std::to_string(n_of(matrix::collected, false)) + " sums, which take up to " +
            std::to_string(((set.memory - memory_left) >> 20) + 1) + " MiB, with " + instructions() + "; " + pass());
}

void collector::tell_progress() {
    const double pause = seconds_since(began) < 60 ? 10 : 60;
    if (!failure.empty() || seconds_since(told) < pause) return;
    told = clock::now();
    char speed[32];
    std::snprintf(speed, sizeof(speed), "%.1f", double(tokens) / seconds_since(began));
    set.say("collecting: " + std::to_string(tokens) + " tokens, " + speed + " per second; " + pass());
}

// ----------------------------------------------------------------------------------------------------------- end

// What was read again must be as it was when the file was written.
std::string collector::check_kept() const {
    for (const matrix & m : all) {
        if (m.state != matrix::kept || m.same) continue;
        const double then = measured(m.name + ".trace");
        if (m.rows == counted(m) && std::abs(m.squares - then) <= 3e-4 * std::abs(then)) continue;
        return set.file + " was begun with another model, text or setting, in which " + m.name + " had other inputs: run the "
               "same command for each pass, or name another file";
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
    auto   metadata = old.metadata;
    char   text[32];
    double first = start;
    if (old.exists) first = measured("start");
    auto put = [&](const std::string & key, double value) {
        std::snprintf(text, sizeof(text), "%.17g", value);
        metadata[key] = text;
    };
    metadata["format"] = "sparamx-gram-1";
    metadata["tokens"] = std::to_string(tokens);
    metadata["missing"] = std::to_string(n_of(matrix::waiting, true));
    metadata["passes"] = std::to_string(number("passes") + 1);
    if (!model.empty()) metadata["model"] = model;
    put("start", first);

    std::map<std::string, new_tensor> tensors; // in the order of their keys, whatever pass they come from
    for (const auto & [key, range] : old.tensors) {
        tensors[key] = new_tensor{ key, range.bytes, copied(set.file, range) };
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
            const int64_t k = m.columns;
            tensors[stem + ".gram"] =
                new_tensor{ stem + ".gram", uint64_t(k) * uint64_t(k + 1) / 2 * sizeof(float), [&part, k](const sink & accept) {
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
    return write(set.file, metadata, list);
}

void collector::finish(int status) {
    std::lock_guard<std::mutex> lock(one_at_a_time);
    if (!failure.empty()) return set.say(set.file + " was not written: " + failure);
    if (all.empty()) return set.say(set.file + " was not written: the host computed no product of a weight on this CPU");
    if (is_complete) return;
    if (warming_up || tokens == 0) return set.say(set.file + " was not written: the host computed no text");
    if (status != 0) {
        return set.say(set.file + " was not written: the host ended with status " + std::to_string(status));
    }
    if (evaluation == 1) tell_plan();
    std::string why;
    if (is_start && !is_complete && !check_start()) why = failure;
    if (is_complete) return;
    if (why.empty()) why = check_kept();
    if (why.empty() && old.is_stale(set.file)) why = "another process has written it meanwhile";
    if (why.empty()) {
        flush_rest();
        why = write_file();
    }
    if (!why.empty()) return set.say(set.file + " was not written: " + why);
    const uint64_t done = n_of(matrix::kept, true) + n_of(matrix::collected, true);
    char           cost[64];
    std::snprintf(cost, sizeof(cost), "%.2f ms per token", 1e3 * seconds / double(tokens));
    set.say(set.file + " has the inputs of " + of(done, all.size(), "matrices") + ", from " + std::to_string(tokens) +
            " tokens (" + cost + " for the sums); " + pass() +
            (done < all.size() ? ": run the same command again" : ", which is all"));
}

} // namespace plugin::collect
