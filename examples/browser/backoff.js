/** How long to wait between attempts. @module */

import { UploadError } from './errors.js';

const FIRST = 500, LONGEST = 30_000; // ms
const REFUSALS = 5; // in a row, with not a byte between them, before giving up
const LATE = 60_000; // ms, for how long the server may come to what was sent on a connection that broke

/** Backoff waits longer each time, and never makes all clients of a server come back at the same moment. */
export class Backoff {
  #failures = 0;
  #refusals = 0;
  #since = Date.now(); // of the last progress
  #broke = -Infinity; // when a connection did, of which nobody has heard since

  /** @param {number} giveUpAfter ms without progress */
  constructor(giveUpAfter) {
    this.giveUpAfter = giveUpAfter;
  }

  /**
   * The upload got further. Who takes it over from here on is another tab, which a
   * person has opened, rather than the connection that broke.
   */
  reset() {
    this.#failures = this.#refusals = 0;
    this.#broke = -Infinity;
    this.#since = Date.now();
  }

  /**
   * Returns how long to wait before the next attempt, in ms: `wait` is what is
   * best, `least` what the server asked for. Throws what to fail with when there
   * should be none.
   *
   * @param {UploadError} error what the last attempt ended with
   * @returns {{ wait: number, least: number }}
   */
  after(error) {
    if (error.code === 'disconnected' && error.retryAfter === undefined) {
      this.#broke = Date.now();
    } else if (error.code === 'superseded' && Date.now() - this.#broke < LATE) {
      this.#broke = -Infinity; // that was it (PROTOCOL.md, section 8)
    } else if (error.final) {
      throw error;
    }
    const asked = error.retryAfter ?? 0;
    if (error.refused && !asked && ++this.#refusals >= REFUSALS) throw error;
    const pause = Math.min(LONGEST, FIRST * 2 ** this.#failures) * (0.5 + Math.random() / 2);
    // Who says when to come back expects it to work then.
    if (!asked) this.#failures++;
    const least = asked * (1 + Math.random() / 10), wait = asked ? least : pause;
    if (Date.now() - this.#since + wait > this.giveUpAfter) {
      throw new UploadError('gave-up', `No progress for too long. ${error.message}`, { resumable: true, cause: error });
    }
    return { wait, least };
  }
}
