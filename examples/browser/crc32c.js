/**
 * CRC-32C, with which both ends make sure that they mean the same bytes.
 *
 * @module
 */

const POLYNOMIAL = 0x82f63b78; // Castagnoli's, least significant bit first

// tables[k][b] is what byte b does to the checksum k bytes further on: with
// eight of them, eight bytes are taken at a time.
const tables = Array.from({ length: 8 }, () => new Int32Array(256));
for (let b = 0; b < 256; b++) {
  let crc = b;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1;
  tables[0][b] = crc;
}
for (let k = 1; k < 8; k++) {
  for (let b = 0; b < 256; b++) tables[k][b] = (tables[k - 1][b] >>> 8) ^ tables[0][tables[k - 1][b] & 255];
}

/**
 * Returns the checksum of the bytes that gave `crc`, followed by `bytes`.
 *
 * @param {Uint8Array} bytes
 * @param {number} [crc]
 * @returns {number} unsigned, of 32 bits
 */
export function crc32c(bytes, crc = 0) {
  const [t0, t1, t2, t3, t4, t5, t6, t7] = tables;
  const { length } = bytes;
  let c = ~crc, i = 0;
  for (const end = length - 7; i < end; i += 8) {
    c ^= bytes[i] | bytes[i + 1] << 8 | bytes[i + 2] << 16 | bytes[i + 3] << 24;
    c = t7[c & 255] ^ t6[c >>> 8 & 255] ^ t5[c >>> 16 & 255] ^ t4[c >>> 24] ^
      t3[bytes[i + 4]] ^ t2[bytes[i + 5]] ^ t1[bytes[i + 6]] ^ t0[bytes[i + 7]];
  }
  for (; i < length; i++) c = (c >>> 8) ^ t0[(c ^ bytes[i]) & 255];
  return ~c >>> 0;
}

/**
 * Returns the product of two polynomials modulo that of the checksum.
 *
 * @param {number} a
 * @param {number} b
 */
function multiply(a, b) {
  let product = 0;
  for (let bit = 0x80000000; bit !== 0; bit >>>= 1) {
    if (a & bit) product ^= b;
    b = b & 1 ? (b >>> 1) ^ POLYNOMIAL : b >>> 1;
  }
  return product;
}

// doublings[k] is x to the power of 2^k.
const doublings = [0x40000000];
for (let k = 1; k < 64; k++) doublings.push(multiply(doublings[k - 1], doublings[k - 1]));

/**
 * x to the power of 8 * length, which moves a checksum on by so many bytes.
 *
 * @param {number} length
 */
function shift(length) {
  let power = 0x80000000;
  for (let n = length, k = 3; n > 0; n = Math.floor(n / 2), k++) if (n % 2) power = multiply(doublings[k], power);
  return power;
}

let lastLength = 0, lastShift = shift(0); // chunks are mostly of one size

/**
 * Returns the checksum of two stretches of bytes in a row, from theirs.
 *
 * @param {number} first
 * @param {number} second
 * @param {number} length of the second, in bytes
 * @returns {number}
 */
export function combine(first, second, length) {
  if (length !== lastLength) [lastLength, lastShift] = [length, shift(length)];
  return (multiply(lastShift, first) ^ second) >>> 0;
}

/**
 * How a checksum is written on the wire: its four bytes in base64, the most
 * significant first (RFC 9530).
 *
 * @param {number} crc
 */
export function encode(crc) {
  return btoa(String.fromCharCode(crc >>> 24, crc >>> 16 & 255, crc >>> 8 & 255, crc & 255));
}
