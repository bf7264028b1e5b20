/**
 * The checksums of a file's stretches, in whatever order they become known.
 *
 * @module
 */

import { combine, crc32c } from './crc32c.js';

/** @typedef {{ start: number, end: number, crc: number }} Stretch */

/**
 * Ledger collects checksums of what was sent or compared, so that in the end
 * that of the whole file is known without reading anything twice.
 */
export class Ledger {
  /** @type {Stretch[]} in order, apart from each other */
  #known = [];

  /**
   * Enters a stretch of which nothing was known before.
   *
   * @param {number} start
   * @param {number} end
   * @param {number} crc
   */
  add(start, end, crc) {
    if (start === end) return;
    const known = this.#known;
    let at = known.findIndex((s) => s.start >= end);
    if (at < 0) at = known.length;
    known.splice(at, 0, { start, end, crc });
    this.#join(at);
    this.#join(at - 1);
  }

  /**
   * Makes one of a stretch and the next if nothing is between them.
   *
   * @param {number} at
   */
  #join(at) {
    const first = this.#known[at], second = this.#known[at + 1];
    if (!first || !second || first.end !== second.start) return;
    first.crc = combine(first.crc, second.crc, second.end - second.start);
    first.end = second.end;
    this.#known.splice(at + 1, 1);
  }

  /**
   * Enters what is new of bytes that begin at start.
   *
   * @param {number} start
   * @param {Uint8Array} bytes
   * @param {number} crc theirs
   */
  note(start, bytes, crc) {
    const end = start + bytes.length;
    for (const [from, to] of this.missing(start, end)) {
      const whole = from === start && to === end;
      this.add(from, to, whole ? crc : crc32c(bytes.subarray(from - start, to - start)));
    }
  }

  /**
   * Returns what is not known between two positions.
   *
   * @param {number} start
   * @param {number} end
   */
  missing(start, end) {
    /** @type {[number, number][]} */
    const gaps = [];
    let at = start;
    for (const s of this.#known) {
      if (s.end <= at) continue;
      if (s.start >= end) break;
      if (s.start > at) gaps.push([at, s.start]);
      at = s.end;
    }
    if (at < end) gaps.push([at, end]);
    return gaps;
  }

  /**
   * Returns the checksum of a stretch, null when just that one is not known.
   *
   * @param {number} start
   * @param {number} end
   */
  of(start, end) {
    if (start === end) return 0;
    return this.#known.find((s) => s.start === start && s.end === end)?.crc ?? null;
  }

  /**
   * Returns the checksum of everything up to size, which must all be known.
   *
   * @param {number} size
   * @returns {number}
   */
  whole(size) {
    const crc = this.of(0, size);
    if (crc === null) throw new Error(`the checksums of the parts do not add up to ${size} bytes`);
    return crc;
  }
}
