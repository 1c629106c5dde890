/* cpp.cc: the library from C++, with handles that close themselves.
 *
 *     g++ cpp.cc $(pkg-config --cflags --libs kist) -o cpp && ./cpp */
#include <cstdio>
#include <kist.h>
#include <memory>
#include <stdexcept>
#include <string>

namespace
{

struct store_close {
    void operator()(kist_store *s) const
    {
        kist_close(&s);
    }
};
struct bucket_close {
    void operator()(kist_bucket *b) const
    {
        kist_bucket_close(&b);
    }
};
struct cursor_close {
    void operator()(kist_cursor *c) const
    {
        kist_cursor_close(&c);
    }
};
using store = std::unique_ptr<kist_store, store_close>;
using bucket = std::unique_ptr<kist_bucket, bucket_close>;
using cursor = std::unique_ptr<kist_cursor, cursor_close>;

void check(int rc)
{
    if (rc)
        throw std::runtime_error(kist_strerror(rc));
}

kist_bytes bytes(const std::string &s)
{
    return {s.data(), s.size()};
}

/* A store in memory: it needs no key, and it is gone with its handle. */
store open_in_memory()
{
    kist_store *s = nullptr;
    kist_options options{};
    options.size = sizeof options;
    options.engine = KIST_ENGINE_MEMORY;
    check(kist_open(":memory:", &options, &s));
    return store(s);
}

bucket open_default(const store &s)
{
    kist_bucket *b = nullptr;
    check(kist_bucket_open(s.get(), "default", &b));
    return bucket(b);
}

std::string all_of(const bucket &b)
{
    kist_cursor *c = nullptr;
    kist_record record{};
    std::string out;
    check(kist_cursor_open(b.get(), nullptr, &c));
    const cursor owner(c);
    int rc = 0;
    while ((rc = kist_cursor_next(c, &record)) == 0) {
        out.append(static_cast<const char *>(record.key.ptr), record.key.len).append("=");
        out.append(static_cast<const char *>(record.value.ptr), record.value.len).append(" ");
    }
    if (rc != KIST_EEND)
        check(rc);
    return out;
}

} // namespace

int main()
{
    try {
        const store s =
            open_in_memory(); /* destroyed last: handles are closed before their store */
        const bucket b = open_default(s);
        check(kist_put(b.get(), KIST_STR("name"), bytes("value"), nullptr, nullptr));
        check(kist_increment(b.get(), KIST_STR("count"), 41, nullptr, nullptr, nullptr));
        check(kist_increment(b.get(), KIST_STR("count"), 1, nullptr, nullptr, nullptr));
        const std::string all = all_of(b);
        std::printf("%s\n", all.c_str());
        return all == "count=42 name=value " ? 0 : 1;
    } catch (const std::exception &e) {
        std::fprintf(stderr, "cpp: %s\n", e.what());
        return 1;
    }
}
