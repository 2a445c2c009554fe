/*
 * What a message says, as in engine/src/workload/payload.rs: word k of message seq is SALT[way] + seq * STRIDE + k * STEP,
 * modulo 2^64, least significant byte first. Messages of 8, 16, 32, 48 and 64 bytes are written and verified by
 * straight-line code, as there.
 *
 * PLAIN_TOUCH=header in the environment writes and verifies the first eight bytes only.
 *
 * With -DSPOIL=N one bit of the last byte of message N is turned after it was written: a receiver has to notice.
 */
#ifndef PAYLOAD_H
#define PAYLOAD_H
#include "plain.h"

#define STEP 0x9E3779B97F4A7C15u
#define STRIDE 0xD1B54A32D192ED03u

INLINE uint64_t first_word(int way, uint64_t seq)
{
    const uint64_t salt = way == OUT ? 0x123456789ABCDE01u : 0x8BADF00D5EED4270u;
    return salt + seq * STRIDE;
}

INLINE void fill_words(uint64_t word, unsigned char *message, const size_t len)
{
    for (size_t k = 0; k < len / 8; k++) {
        memcpy(message + 8 * k, &word, 8);
        word += STEP;
    }
    for (size_t k = len / 8 * 8; k < len; k++) {
        message[k] = (unsigned char)word;
        word >>= 8;
    }
}

/* Zero if the message is right. */
INLINE uint64_t check_words(uint64_t word, const unsigned char *message, const size_t len)
{
    uint64_t differ = 0;
    for (size_t k = 0; k < len / 8; k++) {
        uint64_t found;
        memcpy(&found, message + 8 * k, 8);
        differ |= found ^ word;
        word += STEP;
    }
    for (size_t k = len / 8 * 8; k < len; k++) {
        differ |= message[k] ^ (unsigned char)word;
        word >>= 8;
    }
    return differ;
}

static __attribute__((noinline)) void fill_any(uint64_t word, unsigned char *message, size_t len)
{
    fill_words(word, message, len);
}

static __attribute__((noinline)) uint64_t check_any(uint64_t word, const unsigned char *message, size_t len)
{
    return check_words(word, message, len);
}

INLINE void fill(int way, uint64_t seq, unsigned char *message)
{
    const uint64_t word = first_word(way, seq);
    const size_t len = touched;
    switch (len) {
    case 64: fill_words(word, message, 64); break;
    case 48: fill_words(word, message, 48); break;
    case 32: fill_words(word, message, 32); break;
    case 16: fill_words(word, message, 16); break;
    case 8: fill_words(word, message, 8); break;
    default: fill_any(word, message, len);
    }
#ifdef SPOIL
    if (seq == SPOIL)
        message[len - 1] ^= 1;
#endif
}

INLINE void check(int way, uint64_t seq, const unsigned char *message)
{
    const uint64_t word = first_word(way, seq);
    const size_t len = touched;
    uint64_t differ;
    switch (len) {
    case 64: differ = check_words(word, message, 64); break;
    case 48: differ = check_words(word, message, 48); break;
    case 32: differ = check_words(word, message, 32); break;
    case 16: differ = check_words(word, message, 16); break;
    case 8: differ = check_words(word, message, 8); break;
    default: differ = check_any(word, message, len);
    }
    if (__builtin_expect(differ != 0, 0))
        wrong(seq);
}

#endif
