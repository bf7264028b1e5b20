/**
 * How fast it goes: now, and over the last minute.
 *
 * @module
 */

const STEP = 500; // ms between two points of the chart
const POINTS = 80;
const FEW = 12; // points that fill the chart at the beginning
const OVER = 4000; // ms the rate is taken over
const WIDTH = 120, HEIGHT = 26;
const SVG = 'http://www.w3.org/2000/svg';

/** Meter tells a rate from positions and times. */
export class Meter {
  /** @type {[number, number][]} ms and bytes, of the last few seconds */
  #samples = [];
  /** @type {number[]} bytes per second, one per STEP */
  history = [];
  #next = 0;

  /** The transfer was interrupted, or begins. */
  reset() { this.#samples = []; }

  /**
   * Takes in where the transfer stands; to be called a few times a second.
   *
   * @param {number} position bytes
   * @param {number} now ms
   */
  sample(position, now) {
    const last = this.#samples[this.#samples.length - 1];
    if (last && position < last[1]) this.reset(); // the server had less than it had taken in
    this.#samples.push([now, position]);
    while (now - this.#samples[0][0] > OVER) this.#samples.shift();
    if (now < this.#next) return;
    this.#next = now + STEP;
    this.history.push(this.rate ?? 0);
    if (this.history.length > POINTS) this.history.shift();
  }

  /** Bytes per second; null as long as there is not enough to tell it from. */
  get rate() {
    const first = this.#samples[0], last = this.#samples[this.#samples.length - 1];
    if (!first || last[0] - first[0] < 600) return null;
    return (last[1] - first[1]) / (last[0] - first[0]) * 1000;
  }
}

/** A small picture of a rate, for those who see it. */
export class Chart {
  #line = document.createElementNS(SVG, 'path');
  #area = document.createElementNS(SVG, 'path');

  constructor() {
    this.element = document.createElementNS(SVG, 'svg');
    this.element.setAttribute('viewBox', `0 0 ${WIDTH} ${HEIGHT}`);
    this.element.setAttribute('preserveAspectRatio', 'none');
    this.element.setAttribute('aria-hidden', 'true');
    this.element.setAttribute('part', 'chart');
    this.element.classList.add('chart');
    this.#area.classList.add('area');
    this.#line.classList.add('line');
    this.element.append(this.#area, this.#line);
  }

  /** @param {number[]} history bytes per second, the latest last */
  draw(history) {
    const most = Math.max(1, ...history) * 1.08;
    const step = WIDTH / (Math.max(history.length, FEW) - 1), left = WIDTH - (history.length - 1) * step;
    const points = history.map((rate, i) => {
      const x = left + i * step, y = HEIGHT - 1.5 - rate / most * (HEIGHT - 3);
      return `${x.toFixed(1)} ${y.toFixed(1)}`;
    });
    const path = points.length > 1 ? `M${points.join('L')}` : '';
    this.#line.setAttribute('d', path);
    this.#area.setAttribute('d', path && `${path}L${WIDTH} ${HEIGHT}L${left.toFixed(1)} ${HEIGHT}Z`);
  }
}
