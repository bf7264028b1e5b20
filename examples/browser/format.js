/**
 * Numbers as people read them.
 *
 * @module
 */

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];

/** @param {number} n */
export function bytes(n) {
  let k = 0, value = n;
  while (value >= 999.5 && k < UNITS.length - 1) { value /= 1000; k++; }
  const digits = k > 1 && value < 99.95 ? 1 : 0;
  return `${value.toFixed(digits)} ${UNITS[k]}`;
}

/**
 * In the two largest units that say something.
 *
 * @param {number} ms
 */
export function duration(ms) {
  const s = Math.max(1, Math.ceil(ms / 1000));
  if (s < 60) return `${s} s`;
  const m = Math.round(s / 60);
  if (m < 60) return `${m} min`;
  const h = Math.floor(m / 60);
  return h < 48 ? `${h} h ${m % 60} min` : `${Math.round(h / 24)} days`;
}

/**
 * Makes what a server says of bytes easier to read.
 *
 * @param {string} sentence
 */
export function rounded(sentence) {
  return sentence.replace(/\b(\d{4,}) bytes\b/g, (_, n) => bytes(Number(n)));
}
