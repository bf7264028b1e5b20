/**
 * One upload in the list of `<ws-upload>`.
 *
 * @module
 */

import { Chart, Meter } from './chart.js';
import { bytes, duration, rounded } from './format.js';
import { icon } from './icons.js';

/**
 * @typedef {import('./upload.js').Upload} Upload
 * @typedef {import('./upload.js').State} State
 * @typedef {'pause' | 'start' | 'restart'} Act
 */

/**
 * What the first button does in each state. Where there is none there is nothing
 * to decide.
 *
 * @type {Partial<Record<State, [import('./icons.js').IconName, string, Act]>>}
 */
const ACTIONS = {
  connecting: ['pause', 'Pause', 'pause'],
  uploading: ['pause', 'Pause', 'pause'],
  waiting: ['pause', 'Pause', 'pause'],
  paused: ['play', 'Resume', 'start'],
};

/** @type {Record<string, [string, Act] | null>} what can be done about a failure, by its code */
const REMEDIES = {
  'superseded': ['Continue here', 'start'],
  'file-changed': ['Start over', 'restart'],
  'digest-mismatch': ['Start over', 'restart'],
  'file-unreadable': null,
  'stream-failed': null,
};

/** States in which the server has something that cancelling deletes. */
const CANCELLABLE = new Set(/** @type {State[]} */ (['connecting', 'uploading', 'waiting', 'paused', 'verifying', 'waiting-for-space']));

/** @type {Partial<Record<State, import('./icons.js').IconName>>} */
const BADGES = { done: 'check', failed: 'alert', waiting: 'clock', 'waiting-for-space': 'clock', paused: 'pause' };

/**
 * Makes an element with a class and, unless it is for us alone, a CSS part.
 *
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {string} name
 * @param {string} [part]
 */
export function make(tag, name, part) {
  const element = document.createElement(tag);
  element.className = name;
  if (part) element.setAttribute('part', part);
  return element;
}

/**
 * Makes a button a picture, or a picture with a word.
 *
 * @param {HTMLButtonElement} button
 * @param {import('./icons.js').IconName} picture
 * @param {string} label what it does
 * @param {string} name of the file
 * @param {boolean} [worded] whether the label is seen, not only heard
 */
export function dress(button, picture, label, name, worded = false) {
  button.replaceChildren(icon(picture), ...(worded ? [label] : []));
  button.classList.toggle('worded', worded);
  button.setAttribute('aria-label', `${label} ${name}`);
  button.title = worded ? '' : label;
}

/** The parts that every row has, also one of an upload that waits for its file. */
export class Frame {
  constructor() {
    this.element = make('li', 'row', 'item');
    this.badge = make('span', 'badge', 'badge');
    this.name = make('span', 'name', 'name');
    this.percent = make('span', 'percent', 'percent');
    this.bar = make('div', 'bar', 'progress');
    this.status = make('span', 'status', 'status');
    this.action = make('button', 'action', 'button action');
    this.remove = make('button', 'remove', 'button remove');
    this.head = make('div', 'head');
    this.foot = make('div', 'foot');
    this.action.type = this.remove.type = 'button';
    this.percent.setAttribute('aria-hidden', 'true');
    this.badge.setAttribute('aria-hidden', 'true');
    this.head.append(this.name, this.percent);
    this.foot.append(this.status);
    const body = make('div', 'body'), buttons = make('div', 'buttons');
    body.append(this.head, this.bar, this.foot);
    buttons.append(this.action, this.remove);
    this.element.append(this.badge, body, buttons);
  }
}

export class Row {
  #frame = new Frame();
  #meter = new Meter();
  #chart = new Chart();
  #received = make('div', 'received', 'received');
  #durable = make('div', 'durable', 'durable');
  /** @type {Act} */
  #act = 'pause';

  /**
   * @param {Upload} upload
   * @param {string} name to show
   * @param {{ discard: (row: Row) => void, announce: (text: string) => void, link: (upload: Upload) => string }} list
   */
  constructor(upload, name, list) {
    this.upload = upload;
    this.name = name;
    this.list = list;
    const f = this.#frame;
    f.name.textContent = f.name.title = name;
    f.bar.append(this.#received, this.#durable);
    f.bar.setAttribute('role', 'progressbar');
    f.bar.setAttribute('aria-label', name);
    f.foot.append(this.#chart.element);
    f.action.onclick = () => { this.upload[this.#act]()?.catch(() => {}); }; // the row says it
    f.remove.onclick = () => this.#remove();
    this.changed();
  }

  get element() { return this.#frame.element; }

  /** The upload is in another state. */
  changed() {
    const { upload } = this, { state } = upload, f = this.#frame;
    f.element.dataset.state = state;
    f.element.setAttribute('part', `item ${state}`);
    f.badge.replaceChildren(icon(BADGES[state] ?? 'file'));
    this.#meter.reset();
    this.#offer(state);
    if (state === 'done') this.#finish();
    this.show();
    if (['waiting', 'paused', 'failed', 'done'].includes(state)) this.list.announce(`${this.name}: ${f.status.textContent}`);
  }

  /**
   * Sets up the buttons. They are not disabled when there is nothing to do: that
   * would take the focus away from who stands on them.
   *
   * @param {State} state
   */
  #offer(state) {
    const { action, remove } = this.#frame, { error } = this.upload;
    const focused = /** @type {Document | ShadowRoot} */ (action.getRootNode()).activeElement === action;
    const remedy = state === 'failed' && error ? REMEDIES[error.code] ?? (error.code in REMEDIES || !error.resumable ? null : ['Try again', 'start']) : null;
    const usual = ACTIONS[state];
    action.hidden = !usual && !remedy;
    if (usual) {
      dress(action, usual[0], usual[1], this.name);
      this.#act = usual[2];
    } else if (remedy) {
      dress(action, 'retry', remedy[0], this.name, true);
      this.#act = /** @type {Act} */ (remedy[1]);
    } else if (focused) remove.focus();
    dress(remove, 'cross', CANCELLABLE.has(state) ? 'Cancel' : 'Remove', this.name);
    remove.setAttribute('aria-disabled', String(this.#settling));
  }

  /** It is too late, or too early, to do anything. */
  get #settling() { return ['delivering', 'aborting'].includes(this.upload.state); }

  async #remove() {
    if (this.#settling) return;
    if (CANCELLABLE.has(this.upload.state)) {
      await this.upload.abort();
      if (this.upload.state === 'done') return; // it was too late
    }
    this.list.discard(this);
  }

  /** Shows under which name the file arrived, as a link if it is known where to. */
  #finish() {
    const f = this.#frame, { location } = /** @type {import('./upload.js').Result} */ (this.upload.result);
    const href = this.list.link(this.upload);
    if (!location || !href) return;
    const link = make('a', 'name', 'name link');
    link.href = href;
    link.textContent = link.title = location;
    f.name.replaceWith(link);
  }

  /** Shows how far it is. Called several times a second. */
  show() {
    const { upload } = this, { state } = upload, f = this.#frame;
    const { received, durable, length } = upload.progress;
    const part = length === null ? 0 : length === 0 ? Number(state === 'done') : received / length;
    f.bar.classList.toggle('unknown', length === null);
    this.#received.style.transform = length === null ? '' : `scaleX(${part})`;
    this.#durable.style.transform = `scaleX(${length ? durable / length : 0})`;
    f.percent.textContent = length === null ? '' : `${Math.floor(part * 100)}%`;
    if (length === null) f.bar.removeAttribute('aria-valuenow');
    else f.bar.setAttribute('aria-valuenow', String(Math.floor(part * 100)));
    if (state === 'uploading') {
      this.#meter.sample(received, performance.now());
      this.#chart.draw(this.#meter.history);
    }
    const text = this.#describe(state, received, length);
    if (f.status.textContent !== text) f.status.textContent = text;
    f.bar.setAttribute('aria-valuetext', text);
  }

  /**
   * @param {State} state
   * @param {number} received
   * @param {number | null} length
   */
  #describe(state, received, length) {
    const { error, retryAt } = this.upload;
    const size = length === null ? '' : bytes(length), some = length === null ? bytes(received) : `${bytes(received)} of ${size}`;
    switch (state) {
      case 'idle': return size ? `Waits for its turn · ${size}` : 'Waits for its turn';
      case 'connecting': return 'Connecting…';
      case 'uploading': return [some, ...this.#pace(received, length)].join(' · ');
      case 'verifying': return length !== null && received < length ? 'Comparing with what the server has…' : 'Verifying…';
      case 'delivering': return 'Delivering…';
      case 'waiting-for-space': return `The server has no room now. It goes on by itself when there is some · ${some}`;
      case 'waiting': return `${rounded(error?.message ?? 'No connection.')} Next attempt in ${duration(retryAt - Date.now())}.`;
      case 'paused': return `Paused · ${some}`;
      case 'aborting': return 'Cancelling…';
      case 'aborted': return 'Cancelled';
      case 'done': return `Uploaded · ${size}`;
      case 'failed': return rounded(error?.message ?? '');
    }
  }

  /**
   * The rate and the time left, as soon as there is enough to tell them from.
   *
   * @param {number} received
   * @param {number | null} length
   */
  #pace(received, length) {
    const { rate } = this.#meter;
    if (rate === null) return [];
    if (rate <= 0) return length === null ? [] : ['stalled'];
    return length === null ? [`${bytes(rate)}/s`] : [`${bytes(rate)}/s`, `${duration((length - received) / rate * 1000)} left`];
  }
}
