/**
 * A file on its way to a server that speaks wsingest.v1.
 *
 * @module
 */

import { UploadError } from './errors.js';
import { endpoint, newID } from './protocol.js';
import { forget, keyOf, recall } from './remember.js';
import { sourceOf } from './source.js';
import { Transfer } from './transfer.js';

/**
 * How it stands with an upload:
 *
 * - `idle`: not started
 * - `connecting`: on the way to the server
 * - `uploading`: bytes flow
 * - `verifying`: checksums are compared: of the file with what the server has from
 *   before, or, when all is sent, by the server, which makes it durable as well
 * - `delivering`: the server hands the file to the app behind it
 * - `waiting-for-space`: the server has no room for what comes next; it goes on by itself
 * - `waiting`: no connection; `error` says why, `retryAt` when the next attempt is
 * - `paused`: by `pause`
 * - `aborting`: the server is told to delete what it has
 * - `aborted`: it was told, or could not be reached and will do so in its own time
 * - `done`: somebody has the file; `result` says who
 * - `failed`: `error` says why
 *
 * @typedef {'idle' | 'connecting' | 'uploading' | 'verifying' | 'delivering' | 'waiting-for-space' | 'waiting' | 'paused' | 'aborting' | 'aborted' | 'done' | 'failed'} State
 */

/** States in which an upload is busy, or will be by itself. */
export const RUNNING = new Set(/** @type {State[]} */ (['connecting', 'uploading', 'verifying', 'delivering', 'waiting-for-space', 'waiting', 'aborting']));

/**
 * @typedef {object} Progress
 * @property {number} received bytes the server has taken in
 * @property {number} durable bytes on its stable storage: they are never sent again
 * @property {number | null} length bytes of the whole file; null as long as it is not known
 * @property {number} held bytes of a stream or a recording that are kept until they are safe; 0 for a file, which is read again
 *
 * @typedef {object} Result
 * @property {string} id
 * @property {number} length bytes
 * @property {string} [location] where the server published the file
 * @property {import('./protocol.js').Response} [response] what the app behind the server answered
 * @property {import('./protocol.js').Digest} [digest] of the whole file, as the server computed it
 *
 * @typedef {object} Options
 * @property {string | URL} url of the upload route; http, ws, or relative to the page
 * @property {string} [name] of the file; default: the File's own
 * @property {string} [type] media type; default: the File's own
 * @property {Record<string, string>} [metadata] for the app behind the server
 * @property {string | ((id: string) => string | Promise<string>)} [ticket] a grant of the app; a function of the id is asked before every opening
 * @property {number} [lanes] parallel connections for a large file, 1 to 16; default 1
 * @property {'sha-256'} [wantDigest] have the server compute it as well
 * @property {boolean} [remember] go on after a reload of the page; default true. Only for a File
 * @property {FileSystemFileHandle} [handle] of the file: remembered, so that it need not be chosen again
 * @property {string} [id] of an upload that was begun elsewhere: 22 to 64 characters of A-Z a-z 0-9 _ -
 * @property {number} [retention] bytes of a stream or a recording kept until the server has them safe; default 64 MiB
 * @property {number} [giveUpAfter] ms without progress after which it fails; default: never
 * @property {(progress: Progress, upload: Upload) => void} [onProgress]
 * @property {(state: State, upload: Upload) => void} [onState]
 * @property {(result: Result, upload: Upload) => void} [onSuccess]
 * @property {(error: UploadError, upload: Upload) => void} [onError]
 */

// With these the server has no more use for the id.
const SPENT = new Set(['rejected', 'digest-mismatch', 'bad-id', 'not-found', 'inconsistent-upload-length', 'max-size-exceeded', 'stream-failed']);

const SOON = ['online', 'pageshow']; // events after which a connection may work again

export class Upload {
  /** @type {State} */
  state = 'idle';
  /** @type {UploadError | null} why it failed, or waits */
  error = null;
  /** When the next attempt is, in ms as Date.now(), in the state `waiting`. */
  retryAt = 0;
  /** @type {Result | null} */
  result = null;

  #from;
  #options;
  #url;
  #source;
  /** @type {Transfer | null} */
  #transfer = null;
  #id = '';
  #key = '';
  #run = new AbortController();
  /** @type {Promise<Result>} */
  #outcome = Promise.reject(new Error('not started'));

  /**
   * Prepares an upload; `start` begins it.
   *
   * @param {File | Blob | ReadableStream | MediaRecorder} from
   * @param {Options} options
   */
  constructor(from, options) {
    this.#outcome.catch(() => {});
    this.#from = from;
    this.#options = validated(options);
    this.#url = endpoint(options.url);
    this.#source = sourceOf(from, options.retention ?? 64 << 20);
  }

  /** What the file is called. */
  get name() { return this.#options.name ?? (isFile(this.#from) ? this.#from.name : ''); }

  /** Names the upload on the server, once it was started. */
  get id() { return this.#id; }

  /** @returns {Progress} */
  get progress() {
    const { size: length, held } = this.#source;
    if (this.result) return { received: this.result.length, durable: this.result.length, length: this.result.length, held: 0 };
    return { received: this.#transfer?.received ?? 0, durable: this.#transfer?.durable ?? 0, length, held };
  }

  /** Whether it is busy, or will be by itself. */
  get running() { return RUNNING.has(this.state); }

  /**
   * Begins the upload, or goes on with it wherever it stands: after a pause, a
   * failure, or when another tab took it over.
   *
   * @returns {Promise<Result>} rejects with an UploadError when it fails; while it is paused, it is pending. It need not be caught.
   */
  start() {
    if (this.running || this.state === 'done') return this.#outcome;
    const run = this.#run = new AbortController();
    this.error = null;
    this.#enter('connecting');
    this.#outcome = new Promise((resolve, reject) => {
      this.#drive(run.signal).then((result) => result && resolve(result), reject);
    });
    this.#outcome.catch(() => {});
    return this.#outcome;
  }

  /** Goes on after a pause. The same as `start`. */
  resume() { return this.start(); }

  /** Begins from the first byte, as another upload: for a file that has changed since. */
  async restart() {
    if (this.running || this.state === 'done') return this.#outcome;
    if (!this.#source.seekable) throw new UploadError('stream-failed', 'A stream cannot be sent from its beginning again.');
    await this.#forget();
    return this.start();
  }

  /** Stops at once. What the server has, it keeps. */
  pause() {
    if (!this.running || this.state === 'aborting') return;
    this.#run.abort();
    this.#enter('paused');
  }

  /**
   * Stops for good, and has the server delete what it has. Resolves when it has, or cannot be reached.
   * What another tab or program has taken over is that one's to delete: it is left alone.
   */
  async abort() {
    if (['done', 'aborting', 'aborted'].includes(this.state)) return;
    this.#run.abort();
    if (this.state === 'failed' && this.error?.code === 'superseded') {
      await this.#source.close();
      this.#enter('aborted');
      return;
    }
    this.#enter('aborting');
    const said = await this.#transfer?.cancel();
    if (said && !said.cancelled) { // it was too late
      this.#succeed(said);
      return;
    }
    await this.#forget();
    await this.#source.close();
    this.#enter('aborted');
  }

  /** @param {AbortSignal} signal stops it @returns {Promise<Result | undefined>} undefined when it was stopped */
  async #drive(signal) {
    const release = this.#watchForReturn();
    try {
      const transfer = this.#transfer ??= await this.#prepare();
      if (signal.aborted) return undefined;
      const done = await transfer.run(signal);
      return signal.aborted ? undefined : this.#succeed(done);
    } catch (reason) {
      if (signal.aborted) return undefined;
      const error = reason instanceof UploadError ? reason : new UploadError('unexpected', `The upload failed unexpectedly: ${reason}`, { cause: reason });
      if (SPENT.has(error.code)) await this.#forget();
      this.error = error;
      this.#enter('failed');
      this.#options.onError?.(error, this);
      throw error;
    } finally {
      release();
    }
  }

  /** @param {import('./protocol.js').Done} done */
  #succeed({ id, length, location, response, digest }) {
    this.result = { id, length, location, response, digest };
    this.#forget();
    this.#enter('done');
    this.#options.onSuccess?.(this.result, this);
    return this.result;
  }

  async #prepare() {
    const { lanes = 1, type, metadata, ticket, wantDigest, giveUpAfter = Infinity } = this.#options;
    this.#id = await this.#name();
    const plan = {
      url: this.#url, id: this.#id, name: this.name, type: type ?? (this.#from instanceof Blob ? this.#from.type : ''),
      metadata, ticket, wantDigest, lanes, giveUpAfter,
    };
    return new Transfer(this.#source, plan, {
      enter: (phase, error, retryAt = 0) => {
        if (!this.running || this.state === 'aborting') return;
        this.error = error ?? null;
        this.retryAt = retryAt;
        this.#enter(phase);
      },
      moved: () => this.#options.onProgress?.(this.progress, this),
    });
  }

  /** Finds the id of the upload: the one that was given, that an earlier page began with this file, or a new one. */
  async #name() {
    const { id, remember = true, handle } = this.#options;
    if (id && !this.#transfer) return id;
    if (!remember || !isFile(this.#from)) return newID();
    const { name, size, lastModified } = this.#from;
    this.#key = keyOf(this.#url, this.#from);
    return (await recall({ key: this.#key, url: this.#url, name, size, lastModified, handle })).id;
  }

  async #forget() {
    this.#transfer = null;
    this.#options = { ...this.#options, id: undefined };
    if (this.#key) await forget(this.#key, this.#id);
  }

  /** @param {State} state */
  #enter(state) {
    if (state === this.state && state !== 'waiting') return;
    this.state = state;
    this.#options.onState?.(state, this);
  }

  // A computer that wakes up, or gets another network, should not wait for
  // timers that were made for other times.
  #watchForReturn() {
    const hurry = () => this.#transfer?.hurry();
    const seen = () => { if (document.visibilityState === 'visible') hurry(); };
    for (const event of SOON) globalThis.addEventListener?.(event, hurry);
    globalThis.document?.addEventListener('visibilitychange', seen);
    return () => {
      for (const event of SOON) globalThis.removeEventListener?.(event, hurry);
      globalThis.document?.removeEventListener('visibilitychange', seen);
    };
  }
}

/** @param {unknown} from @returns {from is File} */
function isFile(from) { return typeof File !== 'undefined' && from instanceof File; }

/** @param {Options} o @returns {Options} */
function validated(o) {
  /** @param {boolean} ok @param {string} text */
  const demand = (ok, text) => { if (!ok) throw new TypeError(text); };
  const { lanes = 1, retention = 1 << 20, giveUpAfter = 1, id, wantDigest } = o;
  demand(Number.isInteger(lanes) && lanes >= 1 && lanes <= 16, `lanes: expected 1 to 16, got ${lanes}`);
  demand(retention >= 1 << 20, `retention: expected at least 1 MiB (${1 << 20}), got ${retention}`);
  demand(giveUpAfter > 0, `giveUpAfter: expected milliseconds, got ${giveUpAfter}`);
  demand(id === undefined || /^[\w-]{22,64}$/.test(id), `id: expected 22 to 64 characters of A-Z a-z 0-9 _ -, got ${id}`);
  demand(wantDigest === undefined || wantDigest === 'sha-256', `wantDigest: expected "sha-256", got ${wantDigest}`);
  return o;
}
