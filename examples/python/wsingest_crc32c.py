"""CRC-32C, the checksum of wsingest.v1, at a speed fit for files.

Python's standard library has only the other CRC-32. Where the package
google-crc32c or crc32c is installed it is used (several GB/s). Otherwise the
code below does it in plain Python, at some 300 MB/s instead of the 10 MB/s of
the usual loop over bytes.

How: a CRC is the rest of a division of polynomials over GF(2), and Python's
integers are such polynomials, with XOR for plus and shifts for powers of x.
What is missing is a fast multiplication, but one by a polynomial of three terms
is three shifts. x^6418 leaves the same rest as x^1028 + x^233 + 1, so the upper
part of a long number can be folded onto the lower; and since squaring doubles
every exponent, the same holds at any scale. A few such folds leave less than a
kilobyte, and that goes through the usual table.
"""

import functools

_POLY = 0x82F63B78  # reflected: bit 31 is x^0
# x^_TOP = x^_MID + x^_LOW + 1, modulo the reciprocal of the polynomial: the
# first bit of a message is the lowest bit of the number, but its highest power.
_TOP, _MID, _LOW = 6418, 1028, 233


def _make_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (_POLY if byte & 1 else 0)
        table.append(byte)
    return table


_TABLE = _make_table()


def _rest(data):
    """The register after data, without what comes before and behind."""
    register = 0
    table = _TABLE
    for byte in data:
        register = register >> 8 ^ table[(register ^ byte) & 0xFF]
    return register


def _fold(number, bits):
    """A number of at most some _TOP bits with the same rest as this one."""
    while bits > 2 * _TOP:
        scale = 1 << ((bits - 1) // _TOP).bit_length() - 1
        top, mid, low = _TOP * scale, _MID * scale, _LOW * scale
        high = number >> top
        number = number & (1 << top) - 1 ^ high ^ high << mid ^ high << low
        bits = max(top, bits - top + mid)
    return number, bits


def _multiply(a, b):
    """a times b, modulo the polynomial; both reflected."""
    product = 0
    while a:
        if a & 0x80000000:
            product ^= b
        a = a << 1 & 0xFFFFFFFF
        b = b >> 1 ^ (_POLY if b & 1 else 0)
    return product


@functools.lru_cache(maxsize=256)
def _power(n):
    """x^(8n), modulo the polynomial: what n bytes of zero multiply by."""
    result, base = 0x80000000, 0x00800000
    while n:
        if n & 1:
            result = _multiply(result, base)
        base = _multiply(base, base)
        n >>= 1
    return result


def _extend(crc, data):
    n = len(data)
    start = crc ^ 0xFFFFFFFF
    if n < 4096:
        register = start
        for byte in data:
            register = register >> 8 ^ _TABLE[(register ^ byte) & 0xFF]
        return register ^ 0xFFFFFFFF
    folded, bits = _fold(int.from_bytes(data, "little"), n * 8)
    kept = (bits + 7) // 8
    register = _multiply(_rest(folded.to_bytes(kept, "little")), _power(n - kept))
    return register ^ _multiply(start, _power(n)) ^ 0xFFFFFFFF


def _choose():
    try:
        import google_crc32c

        return (lambda crc, data: google_crc32c.extend(crc, bytes(data))), "google-crc32c"
    except ImportError:
        pass
    try:
        import crc32c

        return (lambda crc, data: crc32c.crc32c(data, crc)), "crc32c"
    except ImportError:
        return _extend, "Python"


_function, implementation = _choose()


def extend(crc, data):
    """The checksum of what crc is the checksum of (0: nothing), followed by data."""
    return _function(crc, data)


def combine(first, second, length):
    """The checksum of two pieces in a row; length is that of the second."""
    return _multiply(first, _power(length)) ^ second
