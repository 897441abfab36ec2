/*
 * sparamx-ggml-names.hpp - the part of the adapter for ggml hosts that goes by names: its environment variables, and
 * the weights that it may have.
 *
 * Included by sparamx-ggml-library.hpp; sparamx-ggml-cpu.hpp says what each variable means.
 */
#ifndef SPARAMX_GGML_NAMES_HPP
#define SPARAMX_GGML_NAMES_HPP

#include "sparamx-ggml-placement.h"

#include <cstdlib>
#include <cstring>
#include <string>

namespace sparamx_ggml {

/* An environment variable, NULL if it is unset or empty, and in programs with more rights than their user. */
inline const char * variable(const char * name) {
    const char * text = secure_getenv(name);
    return text && *text ? text : nullptr;
}

/* Patterns for names: separated by commas or '|', each found anywhere in the name. '*' stands for any characters, '?'
 * for one, '^' at the start and '$' at the end of a pattern for the ends of the name. Takes at most as many steps as
 * pattern and name have characters, multiplied. */
class patterns {
    std::string text;

    /* Of one pattern without ^ and $, from the start of name on. to_end: it must reach the name's end. */
    static bool match(const char * p, const char * p_end, const char * name, bool to_end) {
        const char *retry_p = nullptr, *retry_name = nullptr; /* after the last '*' */
        for (;;) {
            if (p == p_end) {
                if (!to_end || !*name) return true;
            } else if (*p == '*') {
                retry_p = ++p;
                retry_name = name;
                continue;
            } else if (*name && (*p == '?' || *p == *name)) {
                ++p;
                ++name;
                continue;
            }
            if (!retry_p || !*retry_name) return false;
            p = retry_p;
            name = ++retry_name;
        }
    }

    static bool find(const char * p, const char * p_end, const char * name) {
        const bool from_start = p < p_end && *p == '^';
        if (from_start) ++p;
        const bool to_end = p < p_end && p_end[-1] == '$';
        if (to_end) --p_end;
        const std::string loose = (from_start ? "" : "*") + std::string(p, p_end);
        return match(loose.data(), loose.data() + loose.size(), name, to_end);
    }

  public:
    static constexpr size_t longest = 4096;

    /* Empty, or what is wrong with the variable. */
    std::string read(const char * name) {
        const char * value = variable(name);
        if (!value) return {};
        if (strnlen(value, longest + 1) > longest) {
            return std::string(name) + " is longer than " + std::to_string(longest) + " characters";
        }
        const char * wrong = std::strpbrk(value, "\\()[]{}+");
        if (wrong) {
            return std::string(name) + " has '" + *wrong +
                "' in it: it holds names in which * and ? stand for any characters, " +
                   "separated by commas, and no regular expression";
        }
        text = value;
        return {};
    }

    bool empty() const { return text.empty(); }

    bool allow(const char * name) const {
        for (const char * p = text.c_str();;) {
            const size_t n = std::strcspn(p, ",|");
            if (n && find(p, p + n, name)) return true;
            p += n;
            if (!*p++) return false;
        }
    }
};

/* How a host reads a weight: by a product with the whole of it; or it does not say, as a host does that places weights
 * by their names alone. */
enum class reading { product, unknown };

struct name_rules {
    patterns take, leave;
    bool     tied = true;   /* take the token embedding where it is the output matrix too */
    int      numa = 0;      /* SPARAMX_NUMA_* of sparamx.h */
    bool     coded = false; /* BF16 weights may get the coded forms */

    /* Empty if the variables hold what they should, else what is wrong. */
    std::string read() {
        const char * text = variable("SPARAMX_TIED");
        if (text && std::strcmp(text, "take") != 0 && std::strcmp(text, "leave") != 0) {
            return std::string("SPARAMX_TIED is \"") + std::string(text, strnlen(text, 64)) +
                "\" instead of take or leave";
        }
        tied = !text || std::strcmp(text, "take") == 0;
        static const char * const places[] = { "default", "interleave", "mirror", "distribute" }; /* by their numbers */
        text = variable("SPARAMX_NUMA");
        numa = 0;
        while (text && numa < 4 && std::strcmp(text, places[numa]) != 0) ++numa;
        if (numa == 4) {
            return std::string("SPARAMX_NUMA is \"") + std::string(text, strnlen(text, 64)) +
                "\" instead of interleave, mirror or distribute";
        }
        text = variable("SPARAMX_FORM");
        if (text && std::strcmp(text, "auto") != 0 && std::strcmp(text, "coded") != 0) {
            return std::string("SPARAMX_FORM is \"") + std::string(text, strnlen(text, 64)) +
                "\" instead of auto or coded";
        }
        coded = text && std::strcmp(text, "coded") == 0;
        std::string error = take.read("SPARAMX_TAKE");
        return error.empty() ? leave.read("SPARAMX_LEAVE") : error;
    }

    /* NULL if the weight may be taken, else why not, in a few words. */
    const char * refusal(const char * name, reading how) const {
        const placement_op op = how == reading::product ? PLACEMENT_MUL_MAT : placement_asked(name);
        if (const char * why = placement_left(name, op)) return why;
        /* A model that ties them has a second copy of it for the output, and the host keeps the first for its rows. */
        if (!tied && std::strcmp(name, "token_embd.weight") == 0) return "SPARAMX_TIED says so";
        if (!take.empty() && !take.allow(name)) return "SPARAMX_TAKE does not name it";
        if (!leave.empty() && leave.allow(name)) return "SPARAMX_LEAVE names it";
        return nullptr;
    }

    bool allow(const char * name, reading how) const { return !refusal(name, how); }
};

} // namespace sparamx_ggml

#endif /* SPARAMX_GGML_NAMES_HPP */
