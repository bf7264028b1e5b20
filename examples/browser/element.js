/**
 * The custom element `<ws-upload>`: a place to drop files, and the list of what
 * becomes of them.
 *
 *     <script type="module" src="element.js"></script>
 *     <ws-upload url="/upload/" multiple></ws-upload>
 *
 * Attributes:
 *
 * - `url`: of the upload route
 * - `multiple`: more than one file
 * - `accept`: as of an `<input type="file">`
 * - `lanes`: parallel connections for a large file; default 1
 * - `concurrency`: uploads at the same time; default 3, since more would share the same line
 * - `link`: an address to which the name of a finished file is added, to link to it
 * - `page-drop`: files may be dropped anywhere on the page
 *
 * It dispatches `upload-added`, `upload-state`, `upload-success` and
 * `upload-error`, each with the Upload in `detail`.
 *
 * @module
 */

import { endpoint } from './protocol.js';
import { forget, keyOf, remembered, reopen } from './remember.js';
import { Frame, Row, dress, make } from './row.js';
import { icon } from './icons.js';
import { bytes } from './format.js';
import { sheet } from './style.js';
import { Upload } from './upload.js';

/** @typedef {{ file: File, handle?: FileSystemFileHandle }} Choice */

const TICK = 250; // ms between two looks at the rates

export class WSUploadElement extends HTMLElement {
  /** @type {Partial<import('./upload.js').Options>} what the attributes do not say: metadata, ticket and the like, for the uploads to come */
  options = {};

  #root = this.attachShadow({ mode: 'open' });
  #zone = make('div', 'zone', 'dropzone');
  #choose = make('button', 'choose', 'button choose');
  #input = make('input', 'unseen');
  #title = make('p', 'title');
  #list = make('ul', 'list', 'list');
  #announcer = make('p', 'unseen');

  /** @type {Set<Row>} in the order they came */
  #rows = new Set();
  /** @type {Map<string, Frame>} uploads of an earlier page, by key */
  #ghosts = new Map();
  #depth = 0; // of the elements the pointer is over while it drags
  #timer = 0;
  #offPage = new AbortController();

  constructor() {
    super();
    const hint = make('p', 'hint');
    hint.textContent = 'Interrupted uploads go on where they stopped';
    hint.id = 'hint';
    this.#title.append('Drop files here');
    this.#choose.type = 'button';
    this.#choose.textContent = 'Choose files';
    this.#choose.setAttribute('aria-describedby', 'hint');
    this.#choose.onclick = () => this.#pick();
    this.#input.type = 'file';
    this.#input.tabIndex = -1;
    this.#input.setAttribute('aria-hidden', 'true');
    this.#input.onchange = () => {
      this.add(this.#input.files ?? []);
      this.#input.value = ''; // so that choosing the same file again is a change, too
    };
    this.#list.setAttribute('aria-label', 'Uploads');
    this.#list.setAttribute('role', 'list'); // Safari takes one without bullets for none
    this.#announcer.setAttribute('role', 'status');
    this.#zone.append(icon('cloud'), this.#title, hint, this.#choose, this.#input);
    this.#root.adoptedStyleSheets = [sheet];
    this.#root.append(this.#zone, this.#list, this.#announcer);
  }

  connectedCallback() {
    const { signal } = this.#offPage = new AbortController();
    const place = this.hasAttribute('page-drop') ? window : this;
    place.addEventListener('dragenter', () => this.#dragging(1), { signal });
    place.addEventListener('dragleave', () => this.#dragging(-1), { signal });
    place.addEventListener('dragover', (event) => event.preventDefault(), { signal });
    place.addEventListener('drop', (event) => this.#drop(/** @type {DragEvent} */ (event)), { signal });
    this.#timer = setInterval(() => { for (const row of this.#rows) if (row.upload.running) row.show(); }, TICK);
    this.#mention();
  }

  disconnectedCallback() {
    this.#offPage.abort();
    clearInterval(this.#timer);
  }

  /** The uploads in the list, in its order. */
  get uploads() { return [...this.#rows].map((row) => row.upload); }

  /**
   * Takes in files. One that is in the list already, and is not through, goes on
   * where it is.
   *
   * @param {Iterable<File | Choice>} files
   */
  add(files) {
    for (const one of this.hasAttribute('multiple') ? files : [...files].slice(0, 1)) {
      const { file, handle } = one instanceof File ? { file: one, handle: undefined } : one;
      const key = keyOf(this.#url, file), old = [...this.#rows].find((row) => row.element.dataset.key === key);
      if (old?.upload.running || old?.upload.state === 'idle') continue;
      const row = this.#append(file, { handle }, file.name, old?.element ?? this.#ghosts.get(key)?.element);
      if (old) this.#rows.delete(old);
      this.#ghosts.delete(key);
      row.element.dataset.key = key;
    }
    this.#next();
  }

  /**
   * Uploads anything an Upload can be made of, such as a recording, and shows it
   * in the list.
   *
   * @param {File | Blob | ReadableStream | MediaRecorder} from
   * @param {Partial<import('./upload.js').Options> & { name: string }} options
   * @returns {Upload}
   */
  upload(from, options) {
    const { upload } = this.#append(from, options, options.name);
    this.#next();
    return upload;
  }

  get #url() { return endpoint(this.getAttribute('url') ?? '/upload/'); }

  /**
   * @param {File | Blob | ReadableStream | MediaRecorder} from
   * @param {Partial<import('./upload.js').Options>} options
   * @param {string} name
   * @param {Element} [instead] of this one
   */
  #append(from, options, name, instead) {
    /** @type {Row | undefined} */
    let row;
    const upload = new Upload(from, {
      url: this.#url, lanes: Number(this.getAttribute('lanes') ?? 1), ...this.options, ...options,
      onState: (state, up) => { row?.changed(); this.#tell('upload-state', up); this.#next(); },
      onSuccess: (_, up) => this.#tell('upload-success', up),
      onError: (_, up) => this.#tell('upload-error', up),
    });
    row = new Row(upload, name, {
      discard: (r) => this.#discard(r),
      announce: (text) => { this.#announcer.textContent = text; },
      link: (up) => this.#linkTo(up),
    });
    if (instead) instead.replaceWith(row.element);
    else this.#list.append(row.element);
    this.#rows.add(row);
    this.#zone.classList.add('slim');
    this.#tell('upload-added', upload);
    return row;
  }

  /** @param {Upload} upload */
  #linkTo(upload) {
    const base = this.getAttribute('link'), location = upload.result?.location;
    return base === null || !location ? '' : base + location.split('/').map(encodeURIComponent).join('/');
  }

  /**
   * @param {string} type
   * @param {Upload} upload
   */
  #tell(type, upload) {
    this.dispatchEvent(new CustomEvent(type, { detail: upload, bubbles: true, composed: true }));
  }

  /** Starts what waits for its turn. */
  #next() {
    const most = Number(this.getAttribute('concurrency') ?? 3), { uploads } = this;
    for (const upload of uploads) {
      // Counted anew each time: to start one is a change of state, which leads here.
      if (upload.state === 'idle' && uploads.filter((u) => u.running).length < most) upload.start();
    }
  }

  /** @param {Row} row */
  #discard(row) {
    this.#rows.delete(row);
    this.#take(row.element);
    this.#next();
  }

  /**
   * Takes an element off the list, and leaves the focus nearby.
   *
   * @param {HTMLElement} element
   */
  #take(element) {
    const focused = element.contains(this.#root.activeElement);
    const near = (element.nextElementSibling ?? element.previousElementSibling)?.querySelector('button:not([hidden])');
    element.remove();
    if (focused) (near instanceof HTMLElement ? near : this.#choose).focus();
    this.#zone.classList.toggle('slim', this.#list.children.length > 0);
  }

  /** Opens the browser's dialog: where it gives handles, one that does. */
  async #pick() {
    const { showOpenFilePicker } = /** @type {any} */ (window);
    this.#input.multiple = this.hasAttribute('multiple');
    this.#input.accept = this.getAttribute('accept') ?? '';
    if (!showOpenFilePicker || this.#input.accept) return this.#input.click();
    try {
      /** @type {FileSystemFileHandle[]} */
      const handles = await showOpenFilePicker({ multiple: this.#input.multiple });
      this.add(await Promise.all(handles.map(async (handle) => ({ file: await handle.getFile(), handle }))));
    } catch (error) {
      if (/** @type {Error} */ (error).name !== 'AbortError') this.#input.click(); // it is not allowed in this frame
    }
  }

  /** @param {number} change */
  #dragging(change) {
    this.#depth = Math.max(0, this.#depth + change);
    this.#zone.classList.toggle('over', this.#depth > 0);
  }

  /** @param {DragEvent} event */
  async #drop(event) {
    event.preventDefault();
    this.#dragging(-this.#depth);
    const items = [...event.dataTransfer?.items ?? []].filter((item) => item.kind === 'file');
    this.add((await Promise.all(items.map(choiceOf))).flat());
  }

  /** Lists the uploads that an earlier page left unfinished. */
  async #mention() {
    for (const memory of await remembered(this.#url)) {
      if (this.#ghosts.has(memory.key) || [...this.#rows].some((row) => row.element.dataset.key === memory.key)) continue;
      const ghost = new Frame();
      ghost.element.dataset.state = 'interrupted';
      ghost.element.setAttribute('part', 'item interrupted');
      ghost.badge.append(icon('clock'));
      ghost.name.textContent = ghost.name.title = memory.name;
      ghost.status.textContent = `Not finished · ${bytes(memory.size)}${memory.handle ? '' : ' · choose the same file again to go on'}`;
      dress(ghost.action, 'play', memory.handle ? 'Continue' : 'Choose', memory.name, true);
      dress(ghost.remove, 'cross', 'Forget', memory.name);
      ghost.action.onclick = () => this.#revive(memory);
      ghost.remove.onclick = () => this.#forget(memory);
      this.#ghosts.set(memory.key, ghost);
      this.#list.append(ghost.element);
      this.#zone.classList.add('slim');
    }
  }

  /** @param {import('./remember.js').Memory} memory */
  async #revive(memory) {
    const file = await reopen(memory);
    if (file) this.add([{ file, handle: memory.handle }]);
    else await this.#pick();
  }

  /** @param {import('./remember.js').Memory} memory */
  async #forget(memory) {
    await forget(memory.key, memory.id);
    const ghost = this.#ghosts.get(memory.key);
    this.#ghosts.delete(memory.key);
    if (ghost) this.#take(ghost.element);
  }
}

/**
 * Returns what was dropped, nothing for a folder: it looks like a file that
 * cannot be read.
 *
 * @param {DataTransferItem} item
 * @returns {Promise<Choice[]>}
 */
async function choiceOf(item) {
  if (item.webkitGetAsEntry()?.isDirectory) return [];
  const file = item.getAsFile(), asking = /** @type {any} */ (item).getAsFileSystemHandle?.();
  if (!file) return [];
  /** @type {FileSystemFileHandle | undefined} */
  const handle = await asking?.catch(() => undefined);
  return [{ file, handle: handle?.kind === 'file' ? handle : undefined }];
}

customElements.define('ws-upload', WSUploadElement);
