/**
 * One file of Uppy on its way.
 *
 * @module
 */

import { Upload } from 'wsingest';
import { answerOf, wordsOf } from './answer.js';

const REPORT_EVERY = 100; // ms; every report has the Dashboard draw the file anew

/**
 * - `idle`: nobody has asked for it yet, or it failed; queued again, it goes on where it was
 * - `queued`: its turn comes
 * - `running`: it has one of the places that `limit` allows
 * - `paused`: by a person; it has none
 * - `done`: the server has it, or it was cancelled
 *
 * @typedef {'idle' | 'queued' | 'running' | 'paused' | 'done'} State
 */

/**
 * @template {import('@uppy/core').Meta} M
 * @template {import('@uppy/core').Body} B
 */
export class Job {
  /** @type {State} */
  state = 'idle';
  /** @type {Promise<void>} resolves when it is done, or has failed */
  ended = Promise.resolve();

  #uppy;
  #id;
  #options;
  #changed;
  #end = () => {};
  /** @type {Upload | null} */
  #upload = null;
  /** @type {Blob | null} what #upload sends */
  #data = null;
  #reported = 0; // when progress was told last, as Date.now()
  #stalled = false; // and Uppy knows of it

  /**
   * @param {import('@uppy/core').Uppy<M, B>} uppy
   * @param {string} id of the file
   * @param {() => import('./index.js').WsIngestOptions<M, B>} options as they are now
   * @param {() => void} changed called when the state is another
   */
  constructor(uppy, id, options, changed) {
    this.#uppy = uppy;
    this.#id = id;
    this.#options = options;
    this.#changed = changed;
  }

  /** Has it wait for its turn, unless it does so already. A file that is paused goes on waiting for `resume`. */
  queue() {
    if (this.state !== 'idle') return;
    this.ended = new Promise((resolve) => { this.#end = resolve; });
    this.#enter(this.#file()?.isPaused ? 'paused' : 'queued');
  }

  pause() {
    if (this.state !== 'queued' && this.state !== 'running') return;
    this.#upload?.pause();
    this.#enter('paused');
  }

  resume() {
    if (this.state === 'paused') this.#enter('queued');
    // "Resume all" makes Uppy forget the errors of files: they have to go on too.
    else if (!this.#file()?.error) this.queue();
  }

  /** Its turn has come. */
  run() {
    if (!this.#file()) return void this.cancel(); // uppy.clear() says nothing
    this.#enter('running');
    try {
      this.#begin();
    } catch (error) { // options that Upload does not take
      this.fail(/** @type {Error} */ (error));
    }
  }

  /** The file is no longer wanted. Resolves when the server was told to delete what it has, or cannot be reached. */
  async cancel() {
    const told = this.#upload?.abort();
    this.#over('done');
    await told;
  }

  /** @param {Error} error */
  fail(error) {
    if (this.state === 'idle' || this.state === 'done') return;
    this.#upload?.pause();
    const details = wordsOf(error); // Uppy shows them behind the message
    this.#uppy.emit('upload-error', this.#file(), details ? Object.assign(error, { details }) : error, answerOf.error(error));
    this.#over('idle');
  }

  #begin() {
    const file = this.#file(), data = /** @type {Blob} */ (file.data);
    const before = this.#data === data ? this.#upload : null, failure = before?.error;
    // The content is another than that of what the server has: who tries again
    // wants this one.
    if (failure?.code === 'file-changed') {
      before?.restart();
    } else if (before && (!failure || failure.resumable)) {
      before.start();
    } else { // also after a refusal: metadata and options may have been mended since
      this.#upload = new Upload(sourceOf(file), this.#optionsFor(file));
      this.#data = data;
      this.#upload.start();
    }
  }

  /** @param {import('@uppy/core').UppyFile<M, B>} file @returns {import('wsingest').Options} */
  #optionsFor(file) {
    const { url, ticket, allowedMetaFields = true, lanes, wantDigest, remember, giveUpAfter } = this.#options();
    return {
      url: typeof url === 'function' ? url(file) : url,
      ticket: typeof ticket === 'function' ? (id) => ticket(this.#file() ?? file, id) : ticket,
      name: file.meta.name ?? file.name, type: file.type, metadata: metadataOf(file.meta, allowedMetaFields),
      lanes, wantDigest, remember, giveUpAfter,
      onProgress: (_, upload) => this.#follow(upload),
      onState: (_, upload) => this.#follow(upload, true),
      onSuccess: (result, upload) => this.#succeed(result, upload),
      onError: (error, upload) => { if (upload === this.#upload) this.fail(error); },
    };
  }

  /** @param {Upload} upload @param {boolean} [now] tells Uppy, however short ago it was told */
  #follow(upload, now = false) {
    if (upload !== this.#upload || this.state !== 'running') return;
    const file = this.#file();
    if (!file) return void this.cancel();
    this.#warn(file, upload);
    if (!now && Date.now() - this.#reported < REPORT_EVERY) return;
    this.#reported = Date.now();
    const { received: bytesUploaded, length: bytesTotal } = upload.progress;
    this.#uppy.emit('upload-progress', file, { uploadStarted: file.progress.uploadStarted ?? Date.now(), bytesUploaded, bytesTotal });
  }

  /** Says once that the connection is lost; the upload goes on by itself. @param {import('@uppy/core').UppyFile<M, B>} file @param {Upload} upload */
  #warn(file, { state, error }) {
    if (state === 'uploading') this.#stalled = false;
    if (state !== 'waiting' || this.#stalled || !error) return;
    this.#stalled = true;
    this.#uppy.emit('upload-stalled', error, [file]);
  }

  /** @param {import('wsingest').Result} result @param {Upload} upload */
  #succeed(result, upload) {
    if (upload !== this.#upload || this.state === 'done') return;
    const { url, link } = this.#options(), file = this.#file();
    this.#uppy.emit('upload-success', file, answerOf.success(result, typeof url === 'function' ? url(file) : url, link));
    this.#over('done');
  }

  #file() { return this.#uppy.getFile(this.#id); }

  /** @param {State} state */
  #over(state) {
    this.#enter(state);
    this.#end();
  }

  /** @param {State} state */
  #enter(state) {
    this.state = state;
    this.#changed();
  }
}

/**
 * An upload is remembered by name, size and date of its file. Uppy knows more: the
 * folder it was dropped with is part of its id, and two files of one name in two
 * folders are two uploads. The file's bytes are not copied.
 *
 * @param {import('@uppy/core').UppyFile<any, any>} file
 */
function sourceOf({ id, data }) {
  const blob = /** @type {Blob} */ (data);
  return new File([blob], id, { type: blob.type, lastModified: blob instanceof File ? blob.lastModified : 0 });
}

/**
 * @param {Record<string, unknown>} meta
 * @param {boolean | string[]} allowed
 */
function metadataOf(meta, allowed) {
  const names = Array.isArray(allowed) ? allowed : allowed ? Object.keys(meta).filter((n) => n !== 'name' && n !== 'type') : [];
  /** @type {Record<string, string>} */
  const metadata = {};
  for (const name of names) {
    const value = meta[name];
    if (value === undefined || value === null) continue;
    metadata[name] = typeof value === 'string' ? value : JSON.stringify(value);
  }
  return Object.keys(metadata).length > 0 ? metadata : undefined;
}
