/**
 * An uploader for Uppy: files go over a WebSocket, and go on where they were
 * after a lost connection, a reload of the page and a restart of the server.
 *
 *     import Uppy from '@uppy/core';
 *     import WsIngest from 'wsingest-uppy';
 *
 *     const uppy = new Uppy().use(WsIngest, { url: '/upload/' });
 *
 * @module
 */

import { BasePlugin } from '@uppy/core';
import { Job } from './job.js';

/**
 * @template {import('@uppy/core').Meta} M
 * @template {import('@uppy/core').Body} B
 * @typedef {object} Own
 * @property {string | URL | ((file: import('@uppy/core').UppyFile<M, B>) => string | URL)} url of the upload route; http, ws, or relative to the page
 * @property {number} [limit] files that are on their way at a time; default 5, 0: no limit
 * @property {boolean | string[]} [allowedMetaFields] which of the file's `meta` the app behind the server gets; true (default): all but `name` and `type`, which it gets in any case
 * @property {string | ((file: import('@uppy/core').UppyFile<M, B>, id: string) => string | Promise<string>)} [ticket] a grant of the app; a function of file and id is asked before every opening
 * @property {string | URL} [link] where the server shows the files it published: the name of a finished one is added to it
 * @property {number} [lanes] parallel connections for a large file, 1 to 16; default 1
 * @property {'sha-256'} [wantDigest] have the server compute it as well
 * @property {boolean} [remember] go on after a reload of the page when the same file is added again; default true
 * @property {number} [giveUpAfter] ms without progress after which a file fails; default: never
 */

/**
 * @template {import('@uppy/core').Meta} M
 * @template {import('@uppy/core').Body} B
 * @typedef {import('@uppy/core').PluginOpts & Own<M, B>} WsIngestOptions
 */

const defaultLocale = {
  strings: {
    remoteRefused: 'This file is at %{provider}, and only files of this device can be uploaded here. Download it, and add it from this device.',
    fileMissing: 'The browser no longer has this file. Add it again.',
    uploaderRemoved: 'The upload was stopped, since the page took its uploader away.',
  },
};

/**
 * @template {import('@uppy/core').Meta} [M=import('@uppy/core').Meta]
 * @template {import('@uppy/core').Body} [B=import('@uppy/core').Body]
 * @extends {BasePlugin<WsIngestOptions<M, B>, M, B>}
 */
export class WsIngest extends BasePlugin {
  static VERSION = '0.1.0';

  /** @type {Map<string, Job<M, B>>} by the file's id, in the order they were begun; failed ones stay, to be tried again */
  #jobs = new Map();
  /** @type {Map<string, Promise<void>>} by the file's id: the server is being told to delete it */
  #leaving = new Map();
  #planned = false; // to look for the next

  /**
   * @param {import('@uppy/core').Uppy<M, B>} uppy
   * @param {WsIngestOptions<M, B>} options
   */
  constructor(uppy, options) {
    super(uppy, options);
    validate(options);
    this.id = options.id ?? 'WsIngest';
    this.type = 'uploader';
    this.defaultLocale = defaultLocale;
    this.i18nInit();
  }

  /** @override @param {Partial<WsIngestOptions<M, B>>} options take effect on files that are begun from now on */
  setOptions(options) {
    validate({ ...this.opts, ...options });
    super.setOptions(options);
    this.#plan();
  }

  /** @override */
  install() {
    this.#claim({ resumableUploads: true, individualCancellation: true });
    this.uppy.addUploader(this.#upload);
    this.uppy.on('upload-pause', this.#pauseOne);
    this.uppy.on('pause-all', this.#pauseAll);
    this.uppy.on('resume-all', this.#resumeAll);
    this.uppy.on('file-removed', this.#cancel);
  }

  /** Stops what is on its way, without a word to the server: it keeps what it has. @override */
  uninstall() {
    this.uppy.removeUploader(this.#upload);
    this.uppy.off('upload-pause', this.#pauseOne);
    this.uppy.off('pause-all', this.#pauseAll);
    this.uppy.off('resume-all', this.#resumeAll);
    this.uppy.off('file-removed', this.#cancel);
    for (const job of this.#jobs.values()) job.fail(new Error(this.i18n('uploaderRemoved')));
    this.#jobs.clear();
    this.#claim({ resumableUploads: false });
  }

  /** @param {Partial<import('@uppy/core').State<M, B>['capabilities']>} more */
  #claim(more) {
    this.uppy.setState({ capabilities: { ...this.uppy.getState().capabilities, ...more } });
  }

  /**
   * Uppy calls it with the files of an upload, and with those to be tried again.
   * What becomes of each is told by events; it resolves when all have ended.
   *
   * @param {string[]} ids
   */
  #upload = async (ids) => {
    const files = ids.map((id) => this.uppy.getFile(id)).filter((f) => f && !f.error && !f.progress.uploadComplete);
    const ours = files.filter((f) => !this.#refuse(f));
    // The progress of what was begun by an earlier page stays as it was.
    this.uppy.emit('upload-start', ours.filter((f) => !f.isRestored || !f.progress.uploadStarted));
    await Promise.all(ours.map((f) => this.#send(f.id)));
  };

  /** @param {import('@uppy/core').UppyFile<M, B>} file @returns {boolean} whether it cannot be sent from here */
  #refuse(file) {
    if (!file.isRemote && file.data) return false;
    const text = file.isRemote ? this.i18n('remoteRefused', { provider: providerOf(file) }) : this.i18n('fileMissing');
    this.uppy.emit('upload-error', file, new Error(text));
    return true;
  }

  /** @param {string} id @returns {Promise<void>} never rejects */
  async #send(id) {
    await this.#leaving.get(id); // the same file, removed and added again: else one would end the other
    if (!this.uppy.getFile(id)) return;
    let job = this.#jobs.get(id);
    if (!job) this.#jobs.set(id, job = new Job(this.uppy, id, () => this.opts, () => this.#plan()));
    job.queue();
    return job.ended;
  }

  // Soon, but not at once: what is paused or removed one by one does not start
  // its successors only to have them stopped as well.
  #plan() {
    if (this.#planned) return;
    this.#planned = true;
    queueMicrotask(() => {
      this.#planned = false;
      const { limit = 5 } = this.opts;
      let room = limit || Infinity;
      for (const [id, job] of this.#jobs) {
        if (job.state === 'done') this.#jobs.delete(id);
        if (job.state === 'running') room--;
      }
      for (const job of this.#jobs.values()) {
        if (job.state === 'queued' && room-- > 0) job.run();
      }
    });
  }

  #pauseOne = (/** @type {{ id: string } | undefined} */ file, /** @type {boolean} */ paused) => {
    const job = file && this.#jobs.get(file.id);
    if (paused) job?.pause();
    else job?.resume();
  };

  #pauseAll = () => { for (const job of this.#jobs.values()) job.pause(); };

  #resumeAll = () => { for (const job of this.#jobs.values()) job.resume(); };

  #cancel = (/** @type {{ id: string }} */ file) => {
    const gone = this.#jobs.get(file.id)?.cancel();
    if (!gone) return;
    this.#jobs.delete(file.id);
    this.#leaving.set(file.id, gone);
    gone.finally(() => { if (this.#leaving.get(file.id) === gone) this.#leaving.delete(file.id); });
  };
}

export default WsIngest;

/** @param {import('@uppy/core').UppyFile<any, any>} file */
function providerOf(file) {
  const { providerName, provider, host } = /** @type {Extract<typeof file, { isRemote: true }>} */ (file).remote ?? {};
  return providerName ?? provider ?? host ?? 'another service';
}

/** @param {Partial<WsIngestOptions<any, any>>} options */
function validate({ url, limit = 0, allowedMetaFields = true }) {
  /** @param {boolean} ok @param {string} text */
  const demand = (ok, text) => { if (!ok) throw new TypeError(`WsIngest: ${text}`); };
  demand(Boolean(url), 'url: expected the address of an upload route');
  demand(Number.isInteger(limit) && limit >= 0, `limit: expected a number of files, or 0 for no limit, got ${limit}`);
  demand(typeof allowedMetaFields === 'boolean' || Array.isArray(allowedMetaFields), 'allowedMetaFields: expected true, false or a list of names');
}
