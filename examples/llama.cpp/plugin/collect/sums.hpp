// The Gram matrix X^T X of the inputs of one weight matrix, while rows of X come in.
//
// Rows wait until there are some hundreds of them. Their products are then added up in float32, 128 rows at a time, and
// these sums in double: so the error does not grow with the number of rows. Of the symmetric matrix the lower half is
// kept, in blocks of 64 x 64, each of which one thread adds to: no result depends on the number of threads.
#pragma once

#include <cstddef>
#include <cstdint>

namespace plugin::collect {

class sums {
    int64_t  k = 0, rows = 0;
    int      most = 0, waiting = 0;
    float *  panels = nullptr; // [panel][row][64], the rows that wait
    double * totals = nullptr; // [block][64][64]

  public:
    static constexpr int edge = 64; // of a block, and columns of a panel

    // How many rows wait at most, and the memory that is taken then. Where there are many matrices of experts they are
    // few: an eighth of the bytes.
    static int      capacity_for(int64_t k, bool one_of_many);
    static uint64_t bytes_for(int64_t k, int capacity);

    sums() = default;
    ~sums();
    sums(const sums &) = delete;
    sums & operator=(const sums &) = delete;

    // Takes the memory. False if there is none.
    bool make(int64_t k, int capacity);
    bool is_made() const { return k > 0; }

    int64_t columns() const { return k; }
    int64_t count() const { return rows; }
    int64_t n_panels() const { return (k + edge - 1) / edge; }
    int64_t n_blocks() const { return n_panels() * (n_panels() + 1) / 2; }
    int     capacity() const { return most; }
    int     n_waiting() const { return waiting; }

    // Takes one panel of n rows, of which the first is the at-th that waits; each panel is taken by one thread. Returns
    // the sum of the squares, which is no number if one of the inputs is none.
    double append(int64_t panel, int at, const float * const * x, int n);

    // Adds the first n rows that wait to the totals: each block by one thread.
    void flush(int64_t block, int n);

    // What was appended and flushed, by one thread and before or after.
    void count(int64_t new_rows, int then_waiting) {
        rows += new_rows;
        waiting = then_waiting;
    }

    // Row i of the lower triangle, i + 1 numbers. Nothing must be waiting.
    void read(int64_t i, float * out) const;
};

// What the multiplication uses here, as a name.
const char * instructions();

} // namespace plugin::collect
