#include "collector.hpp"

#include <cfloat>
#include <cmath>
#include <cstdio>
#include <new>

namespace plugin::collect {
namespace {

using clock = std::chrono::steady_clock;

double seconds_since(clock::time_point then) { return std::chrono::duration<double>(clock::now() - then).count(); }

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
        return fail("there are two models in this process that have a matrix " + at->name + ": use one alone");
    }
    at->evaluation = evaluation;
    at->from = p.from;
    ++at->products;
    if (at->same && (at->same->products != at->products || !(at->same->from == p.from))) {
        return fail(at->name + " had the inputs of " + at->same->name + " and now has others: leave one of the two out "
                    "(SPARAMX_LEAVE), and use one context at a time");
    }
    return true;
}

// Of a matrix that is new: whether it is collected in this pass.
bool collector::place(matrix & m, const product & p) {
    bool fits = true;
    if (has(m, fits)) { // sums of its own: it may share inputs with what the pass before left out
        m.state = matrix::kept;
        return fits || fail(set.file + " is of another model, in which " + m.name +
                            " has other dimensions: name another file");
    }
    for (matrix & other : all) {
        if (&other == &m || other.same || other.evaluation != evaluation || !(other.from == p.from)) continue;
        if (other.columns != m.columns || other.experts != m.experts) continue;
        m.same = &other;
        m.products = other.products - 1;
        m.state = other.state;
        return true;
    }
    const uint64_t bytes = cost(m.columns, m.experts);
    if (bytes > set.memory) {
        return fail("the sums for " + m.name + " take " + std::to_string((bytes >> 20) + 1) + " MiB, and " +
                    std::to_string(set.memory >> 20) + " MiB may be taken: raise SPARAMX_COLLECT_MEMORY, or leave it "
                    "out (SPARAMX_LEAVE)");
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
        const int capacity = sums::capacity_for(at->columns, at->experts > 0);
        if (first[i + 1] > 0 && !part.is_made() && !part.make(at->columns, capacity)) {
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
    return fail(set.file + " was begun with another model, text or setting: run the same command for each pass, or "
                "name another file");
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
    // What the file misses may come in a later batch: the last layers do not compute where no results are asked for.
    if (collected + n_of(matrix::waiting, true) == 0 && number("missing") == 0) {
        is_complete = true;
        set.say(set.file + " is complete, with " + std::to_string(all.size()) +
                " matrices: nothing is left to collect");
        return;
    }
    set.say("collecting the inputs of " +
            std::to_string(collected) + " of " + std::to_string(all.size()) + " matrices" + " in " +
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

} // namespace plugin::collect
