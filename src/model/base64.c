/* base64.c: bytes inside JSON.
 *
 * Not for keys: crypt/keytext.c reads those in constant time. This one reads values of up to 64
 * MiB, with a table, and refuses what would make two texts say the same (stray bits behind the last
 * byte, padding in the middle). */
#include "model/base64.h"

static const char base64_letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(struct kist_bytes bytes, struct buf *out)
{
    const uint8_t *p = bytes.ptr;
    size_t left = bytes.len;
    uint8_t *to = buf_grow(out, (bytes.len + 2) / 3 * 4);
    if (!to)
        return;
    for (; left > 0; p += 3, to += 4) {
        size_t n = left < 3 ? left : 3;
        uint32_t v = (uint32_t)p[0] << 16;
        v |= n > 1 ? (uint32_t)p[1] << 8 : 0;
        v |= n > 2 ? p[2] : 0;
        for (int i = 0; i < 4; i++)
            to[i] = (uint8_t)base64_letters[v >> (18 - 6 * i) & 63];
        if (n < 3)
            to[3] = '=';
        if (n < 2)
            to[2] = '=';
        left -= n;
    }
}

static int base64_digit(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+' || c == '-')
        return 62;
    return c == '/' || c == '_' ? 63 : -1;
}

/* Without the padding, which must fill up the last four; SIZE_MAX when it does not. */
static size_t base64_bare(const uint8_t *p, size_t len)
{
    size_t bare = len;
    while (bare > 0 && len - bare < 2 && p[bare - 1] == '=')
        bare--;
    if ((bare < len && len % 4 != 0) || bare % 4 == 1)
        return SIZE_MAX;
    return bare;
}

int base64_decode(struct kist_bytes text, struct buf *out)
{
    const uint8_t *p = text.ptr;
    size_t before = out->len, bare = base64_bare(p, text.len);
    uint32_t v = 0;
    int bits = 0;
    if (bare == SIZE_MAX)
        return KIST_EINVAL;
    for (size_t i = 0; i < bare; i++) {
        int digit = base64_digit(p[i]);
        if (digit < 0)
            goto bad;
        v = v << 6 | (uint32_t)digit;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            buf_add_u8(out, (uint8_t)(v >> bits));
            v &= (1u << bits) - 1;
        }
    }
    if (v == 0)
        return buf_status(out);
bad:
    out->len = before;
    return KIST_EINVAL;
}
