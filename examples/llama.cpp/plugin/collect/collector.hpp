// What is added up in this pass over the text, and what becomes of it. Knows nothing of ggml: collect.cpp translates.
//
// A process makes one pass. Each matrix that the file does not have yet is given memory until the budget is used up;
// the others wait for the next pass. Matrices that are multiplied with the same activations share their sums.
#pragma once

#include "gram_file.hpp"
#include "sums.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

namespace plugin::collect {

// Activations as the host names them: two products have the same inputs if all of this is the same, and if they belong
// to the same evaluation.
struct source {
    const void * tensor = nullptr; // that computed them
    const void * data = nullptr;
    const void * chosen = nullptr; // the experts of each row
    bool         operator==(const source & other) const {
        return tensor == other.tensor && data == other.data && chosen == other.chosen;
    }
};

struct input_row {
    int64_t       expert; // or the matrix, where a weight has several; 0
    const float * at;
};

// A product that the host is about to compute.
struct product {
    const char *           name;   // of the weight
    const void *           weight; // its place, which tells two models apart
    int64_t                columns, experts; // experts: 0 if it is one matrix
    int64_t                tokens;
    source                 from;
    std::vector<input_row> rows;
};

// One of the threads that compute the product.
struct member {
    int   ith, nth;
    void (*wait)(void *); // for all others
    void * data;
    void barrier() const {
        if (nth > 1) wait(data);
    }
};

struct settings {
    std::string                              file;
    uint64_t                                 memory = 0;   // bytes
    uint64_t                                 matrices = 0; // at a time; 0: as many as the memory allows
    std::function<std::string()>             name_model;   // for people; empty: no name is known
    std::function<void(const std::string &)> say;
};

class collector {
    struct matrix {
        std::string          name;
        const void *         weight = nullptr;
        int64_t              columns = 0, experts = 0;
        enum { kept, collected, waiting } state = waiting; // kept: the file has it
        matrix *             same = nullptr;               // has the sums
        std::vector<sums>    parts;
        source               from;
        uint64_t             evaluation = 0, products = 0;
        int64_t              rows = 0;    // in this pass
        double               squares = 0; // of the inputs, in this pass
    };
    struct share { // rows of one part
        sums * to;
        size_t first;
        int    count, at; // at: how many wait before them
    };
    struct round { // rows that there is room for, and what is full then
        std::vector<share>   shares;
        std::vector<sums *>  full;
        std::atomic<int64_t> next_panel{ 0 }, next_block{ 0 };
    };

    settings                                  set;
    gram_file                                 old;
    std::string                               failure, model;
    std::deque<matrix>                        all; // in the order of their first products
    std::unordered_map<std::string, matrix *> by_name;
    uint64_t                                  memory_left = 0, matrices_left = 0;
    uint64_t                                  evaluation = 0;
    bool                                      warming_up = false, is_start = true, is_complete = false;
    double                                    start = 0; // a sum over the first evaluation, which tells texts apart
    int64_t                                   tokens = 0;
    int                                       n_threads = 1;
    double                                    seconds = 0; // spent in here
    std::chrono::steady_clock::time_point     began, told, entered;

    // The product at hand, on all of its threads.
    std::mutex                 one_at_a_time;
    bool                       active = false;
    matrix *                   at = nullptr;
    std::vector<const float *> rows;
    std::deque<round>          rounds; // none: the inputs are measured alone
    std::vector<double>        squares; // by thread

    bool        fail(const std::string & why); // false
    bool        begin(const product & p, int nth);
    bool        find(const product & p);
    bool        place(matrix & m, const product & p);
    bool        prepare(const product & p);
    bool        next_evaluation();
    bool        check_start();
    void        plan_rounds(const std::vector<size_t> & first);
    void        append(round & r, int ith);
    void        flush(round & r);
    void        measure(int ith, int nth);
    void        end();
    void        tell_plan();
    void        tell_progress();
    uint64_t    n_of(int state, bool also_shared) const;
    uint64_t    passes_after() const;
    std::string pass() const;
    std::string check_kept() const;
    void        flush_rest();
    std::string write_file();

    // Of the old file.
    bool        has(const matrix & m, bool & fits) const;
    uint64_t    number(const std::string & key) const;
    double      measured(const std::string & key) const;
    int64_t     counted(const matrix & m) const;

  public:
    // Empty, or why nothing can be collected.
    std::string open(const settings & wanted);

    // On each of the threads that compute it, which all pass the same.
    void add(const std::function<product()> & describe, const member & me);

    // The host ends, with this status: writes the file, and says so or why not.
    void finish(int status);
};

} // namespace plugin::collect
