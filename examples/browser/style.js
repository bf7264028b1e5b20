/**
 * What `<ws-upload>` looks like. Colours and measures are custom properties, and
 * its pieces are CSS parts: README.md lists them.
 *
 * @module
 */

export const sheet = new CSSStyleSheet();

sheet.replaceSync(`
:host {
  --_accent: var(--ws-accent, light-dark(#2f5bea, #86a3ff));
  --_on-accent: var(--ws-on-accent, light-dark(#fff, #0c1122));
  --_surface: var(--ws-surface, light-dark(#fff, #181b21));
  --_text: var(--ws-text, light-dark(#191c22, #e8eaee));
  --_muted: var(--ws-muted, light-dark(#5b6270, #9aa2b1));
  --_line: var(--ws-line, light-dark(#dfe2e8, #2d323c));
  --_good: var(--ws-good, light-dark(#177a45, #55c98a));
  --_warn: var(--ws-warn, light-dark(#9a5b00, #e2ac55));
  --_bad: var(--ws-bad, light-dark(#bf2c2c, #ff8b8b));
  --_radius: var(--ws-radius, 14px);
  --_track: color-mix(in srgb, var(--_text) 10%, transparent);
  --_tint: color-mix(in srgb, var(--_accent) 9%, var(--_surface));
  display: block;
  color: var(--_text);
  font: var(--ws-font, 400 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif);
  text-align: start;
}
:host([hidden]), [hidden] { display: none !important; }
* { box-sizing: border-box; }
:focus-visible { outline: 2px solid var(--_accent); outline-offset: 2px; }
.unseen { position: absolute; width: 1px; height: 1px; margin: 0; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }

.zone {
  display: flex; flex-direction: column; align-items: center; gap: .25rem;
  padding: 2.25rem 1.5rem;
  border: 1.5px dashed color-mix(in srgb, var(--_muted) 55%, transparent);
  border-radius: var(--_radius);
  background: var(--_surface);
  text-align: center;
  transition: border-color .15s, background-color .15s, padding .2s;
}
.zone.slim { flex-flow: row wrap; justify-content: center; gap: .5rem .875rem; padding: .875rem 1.25rem; }
.zone.slim .hint { display: none; }
.zone.over { border-color: var(--_accent); border-style: solid; background: var(--_tint); }
.zone .cloud { width: 2.25rem; height: 2.25rem; margin-bottom: .25rem; stroke: var(--_accent); }
.zone.slim .cloud { width: 1.5rem; height: 1.5rem; margin: 0; }
.zone .title { margin: 0; font-weight: 550; }
.zone .hint { margin: 0 0 .875rem; color: var(--_muted); font-size: .875em; text-wrap: balance; }
svg.icon { fill: none; stroke: currentColor; stroke-width: 1.75; stroke-linecap: round; stroke-linejoin: round; }

button { font: inherit; font-size: .875em; font-weight: 550; color: inherit; cursor: pointer; }
.choose {
  padding: .5rem 1.125rem;
  border: 0; border-radius: 9px;
  background: var(--_accent); color: var(--_on-accent);
  transition: filter .12s;
}
.choose:hover { filter: brightness(1.08); }
.choose:active { filter: brightness(.94); }
.zone.slim .choose { padding: .3125rem .875rem; }

.list { margin: .875rem 0 0; padding: 0; border: 1px solid var(--_line); border-radius: var(--_radius); background: var(--_surface); list-style: none; overflow: clip; }
.list:empty { display: none; }
.row { display: grid; grid-template-columns: 2.5rem minmax(0, 1fr) auto; gap: 0 .875rem; align-items: center; padding: .9375rem 1rem; }
.row + .row { border-top: 1px solid var(--_line); }
.badge {
  display: grid; place-items: center; align-self: start;
  width: 2.5rem; height: 2.5rem; margin-top: .0625rem;
  border-radius: 10px;
  background: color-mix(in srgb, var(--_tone) 12%, transparent); color: var(--_tone);
  transition: background-color .2s, color .2s;
}
.badge svg { width: 1.25rem; height: 1.25rem; }
.row { --_tone: var(--_accent); }
.row:is([data-state="idle"], [data-state="paused"], [data-state="aborting"], [data-state="aborted"], [data-state="interrupted"]) { --_tone: var(--_muted); }
.row[data-state="waiting"] { --_tone: var(--_warn); }
.row[data-state="done"] { --_tone: var(--_good); }
.row[data-state="failed"] { --_tone: var(--_bad); }

.head { display: flex; align-items: baseline; gap: .75rem; }
.name { flex: 1; min-width: 0; overflow: hidden; color: inherit; font-weight: 550; text-overflow: ellipsis; white-space: nowrap; }
a.name { flex: 0 1 auto; margin-inline-end: auto; text-decoration-color: color-mix(in srgb, currentColor 35%, transparent); text-underline-offset: .2em; }
a.name:hover { text-decoration-color: currentColor; }
.percent { flex: none; color: var(--_muted); font-size: .875em; font-variant-numeric: tabular-nums; }
.bar { position: relative; height: 6px; margin: .4375rem 0 .375rem; border-radius: 3px; background: var(--_track); overflow: hidden; }
.bar > * { position: absolute; inset: 0; border-radius: inherit; background: var(--_tone); transform-origin: 0 50%; transform: scaleX(0); transition: transform .25s linear, background-color .2s; }
:host(:dir(rtl)) .bar > * { transform-origin: 100% 50%; }
.bar > .received { opacity: .45; }
.bar.unknown > .received { transform: none; width: 35%; opacity: 1; animation: to-and-fro 1.6s ease-in-out infinite alternate; }
.row:not([data-state="uploading"]) .bar.unknown > .received { animation-play-state: paused; }
@keyframes to-and-fro { from { inset-inline-start: -5%; } to { inset-inline-start: 70%; } }
.row[data-state="verifying"] .bar > .durable, .row[data-state="delivering"] .bar > .durable { animation: breathe 1.2s ease-in-out infinite alternate; }
@keyframes breathe { to { opacity: .55; } }
.row:is([data-state="done"], [data-state="interrupted"]) .bar { display: none; }
.row[data-state="done"] .percent, .row[data-state="failed"] .percent { display: none; }
.foot { display: flex; align-items: flex-end; justify-content: space-between; gap: 1rem; min-height: 1.3125rem; }
.status { min-width: 0; color: var(--_muted); font-size: .875em; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.row:is([data-state="waiting"], [data-state="done"], [data-state="failed"]) .status { color: var(--_tone); }
.chart { flex: none; width: 7.5rem; height: 1.5rem; margin-bottom: -.125rem; overflow: visible; }
.chart .line { fill: none; stroke: var(--_accent); stroke-width: 1.5; stroke-linejoin: round; vector-effect: non-scaling-stroke; }
.chart .area { fill: var(--_accent); opacity: .13; }
.row:not([data-state="uploading"]) .chart { display: none; }

.buttons { display: flex; align-items: center; gap: .25rem; }
.buttons button {
  display: inline-flex; align-items: center; gap: .375rem;
  min-width: 2.125rem; height: 2.125rem; padding: 0 .4375rem;
  border: 1px solid transparent; border-radius: 9px; background: transparent; color: var(--_muted);
  white-space: nowrap;
}
.buttons button:hover { background: var(--_track); color: var(--_text); }
.buttons button:active { background: color-mix(in srgb, var(--_text) 16%, transparent); }
.buttons button[aria-disabled="true"] { opacity: .4; cursor: default; }
.buttons svg { width: 1.125rem; height: 1.125rem; }
.buttons button.worded { padding: 0 .75rem; border-color: var(--_line); color: var(--_text); }

@media (max-width: 34rem) {
  .row { grid-template-columns: minmax(0, 1fr) auto; }
  .badge, .chart { display: none; }
  .row:has(.worded:not([hidden])) { grid-template-columns: minmax(0, 1fr); }
  .row:has(.worded:not([hidden])) .buttons { justify-content: flex-end; margin-top: .5rem; }
}
@media (prefers-reduced-motion: reduce) { *, *::before { transition: none !important; animation: none !important; } }
@media (forced-colors: active) { .bar > * { background: Highlight; } .bar { outline: 1px solid; } }
`);
