/**
 * The drawings of `<ws-upload>`.
 *
 * @module
 */

const PATHS = {
  cloud: 'M12 12.5v7.5m0-7.5-3 3m3-3 3 3M7 17.5a4.5 4.5 0 0 1-.7-8.94A6 6 0 0 1 18 9.5a4 4 0 0 1 0 8h-.5',
  file: 'M13.5 3.5H7a1.5 1.5 0 0 0-1.5 1.5v14A1.5 1.5 0 0 0 7 20.5h10a1.5 1.5 0 0 0 1.5-1.5V8.5zm0 0v5h5',
  pause: 'M9 6v12M15 6v12',
  play: 'M8 5.5v13l10.5-6.5z',
  cross: 'M6.5 6.5l11 11m0-11-11 11',
  retry: 'M5 12a7 7 0 1 1 2.1 5M5 18.5V14h4.5',
  check: 'M5.5 12.5l4.5 4.5 8.5-10',
  alert: 'M12 8v5m0 3.2v.1M10.4 4.4 3 17.3A1.85 1.85 0 0 0 4.6 20h14.8a1.85 1.85 0 0 0 1.6-2.7L13.6 4.4a1.85 1.85 0 0 0-3.2 0z',
  clock: 'M12 7.5V12l3 2M12 3.5a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17z',
};

/** @typedef {keyof typeof PATHS} IconName */

const SVG = 'http://www.w3.org/2000/svg';

/** @param {IconName} name */
export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg'), path = document.createElementNS(SVG, 'path');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('aria-hidden', 'true');
  svg.classList.add('icon', name);
  path.setAttribute('d', PATHS[name]);
  svg.append(path);
  return svg;
}
