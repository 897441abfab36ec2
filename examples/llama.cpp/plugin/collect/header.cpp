#include "header.hpp"

#include <algorithm>
#include <cstdio>

namespace plugin::collect {
namespace {

// Reads JSON from the front; every function is false at the first thing that it does not expect.
class reader {
    const char *at, *end;

    void skip() {
        while (at < end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t')) ++at;
    }

    static void append(std::string & to, unsigned code) { // as UTF-8
        if (code < 0x80) {
            to += char(code);
        } else if (code < 0x800) {
            to += char(0xc0 | code >> 6);
            to += char(0x80 | (code & 0x3f));
        } else {
            to += char(0xe0 | code >> 12);
            to += char(0x80 | (code >> 6 & 0x3f));
            to += char(0x80 | (code & 0x3f));
        }
    }

    bool escape(std::string & to) {
        static const char names[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
        if (at == end) return false;
        const char c = *at++;
        for (int i = 0; names[i]; ++i) {
            if (c == names[i]) {
                to += meant[i];
                return true;
            }
        }
        if (c != 'u' || end - at < 4) return false;
        unsigned code = 0;
        for (int i = 0; i < 4; ++i, ++at) {
            const char digit = *at;
            code = code * 16;
            if (digit >= '0' && digit <= '9') code += unsigned(digit - '0');
            else if (digit >= 'a' && digit <= 'f') code += unsigned(digit - 'a') + 10;
            else if (digit >= 'A' && digit <= 'F') code += unsigned(digit - 'A') + 10;
            else return false;
        }
        append(to, code);
        return true;
    }

  public:
    explicit reader(const std::string & text) : at(text.data()), end(at + text.size()) {}

    bool is(char c) {
        skip();
        if (at == end || *at != c) return false;
        ++at;
        return true;
    }

    bool is_at_end() {
        skip();
        return at == end;
    }

    bool text(std::string & to) {
        to.clear();
        if (!is('"')) return false;
        while (at < end && *at != '"') {
            if (static_cast<unsigned char>(*at) < 32) return false;
            if (*at != '\\') {
                to += *at++;
                continue;
            }
            ++at;
            if (!escape(to)) return false;
        }
        return is('"');
    }

    bool number(uint64_t & to) {
        skip();
        to = 0;
        int digits = 0;
        for (; at < end && *at >= '0' && *at <= '9'; ++at, ++digits) to = to * 10 + uint64_t(*at - '0');
        return digits > 0 && digits <= 18;
    }

    // {"key": ..., ...}: member reads what follows each key.
    template <class Member>
    bool object(Member member) {
        if (!is('{')) return false;
        if (is('}')) return true;
        do {
            std::string key;
            if (!text(key) || !is(':') || !member(key)) return false;
        } while (is(','));
        return is('}');
    }

    bool numbers(std::vector<uint64_t> & to) {
        if (!is('[')) return false;
        if (is(']')) return true;
        do {
            to.emplace_back();
            if (!number(to.back())) return false;
        } while (is(','));
        return is(']');
    }
};

std::string quoted(const std::string & text) {
    std::string to = "\"";
    for (const char c : text) {
        char code[8];
        if (static_cast<unsigned char>(c) < 32) {
            std::snprintf(code, sizeof(code), "\\u%04x", unsigned(c));
            to += code;
            continue;
        }
        if (c == '"' || c == '\\') to += '\\';
        to += c;
    }
    return to + '"';
}

} // namespace

bool parse_header(const std::string & text, std::map<std::string, std::string> & metadata,
                  std::map<std::string, gram_file::range> & tensors) {
    reader     in(text);
    const bool whole = in.object([&](const std::string & name) {
        if (name == "__metadata__") {
            return in.object([&](const std::string & key) { return in.text(metadata[key]); });
        }
        std::string           type;
        std::vector<uint64_t> shape, place;
        const bool            read = in.object([&](const std::string & key) {
            if (key == "dtype") return in.text(type);
            return key == "shape" ? in.numbers(shape) : key == "data_offsets" && in.numbers(place);
        });
        if (!read || type != "F32" || shape.size() != 1 || place.size() != 2 || place[1] < place[0]) return false;
        if (shape[0] > UINT64_MAX / sizeof(float) || place[1] - place[0] != shape[0] * sizeof(float)) return false;
        return tensors.emplace(name, gram_file::range{ place[0], place[1] - place[0] }).second;
    });
    if (!whole || !in.is_at_end()) return false;
    std::vector<gram_file::range> order;
    for (const auto & entry : tensors) order.push_back(entry.second);
    std::sort(order.begin(), order.end(), [](auto & a, auto & b) { return a.begin < b.begin; });
    uint64_t next = 0;
    for (const auto & r : order) {
        if (r.begin != next) return false;
        next += r.bytes;
    }
    return true;
}

std::string make_header(const std::map<std::string, std::string> & metadata,
                        const std::vector<std::pair<std::string, uint64_t>> & tensors) {
    std::string text = "{\"__metadata__\":{";
    const char * between = "";
    for (const auto & [key, value] : metadata) {
        text += between + quoted(key) + ":" + quoted(value);
        between = ",";
    }
    text += "}";
    uint64_t at = 0;
    for (const auto & [key, bytes] : tensors) {
        text += "," + quoted(key) + ":{\"dtype\":\"F32\",\"shape\":[" + std::to_string(bytes / sizeof(float)) +
                "],\"data_offsets\":[" + std::to_string(at) + "," + std::to_string(at + bytes) + "]}";
        at += bytes;
    }
    text += "}";
    text.append((64 - (sizeof(uint64_t) + text.size()) % 64) % 64, ' ');
    return text;
}

} // namespace plugin::collect
