// What goes over the WebSockets of this page, or worker, from here on: an object
// for each, the oldest first. Before anything else that uses them.
(() => {
  const Real = WebSocket;
  globalThis.wire = [];
  globalThis.damage = (sent, nth) => false; // whether to damage the nth binary message of a connection

  globalThis.WebSocket = class extends Real {
    constructor(...arguments_) {
      super(...arguments_);
      const w = this.w = { cursor: 0, position: 0, edge: 262144, window: 262144, sent: 0, messages: 0, beyond: 0, buffered: 0, opens: [], codes: [] };
      wire.push(w);
      this.addEventListener('message', ({ data }) => { // before the page hears of it
        const m = JSON.parse(data);
        if (m.type === 'ready') w.position = w.cursor = w.edge = m.cursor;
        if (m.type === 'ready' || m.type === 'ack' && !m.state) {
          w.window = m.window;
          w.edge = Math.max(w.edge, m.window + (m.type === 'ready' ? m.cursor : m.received));
        }
        if (m.type === 'error') w.codes.push(m.code);
      });
    }

    send(data) {
      const { w } = this;
      if (typeof data === 'string') {
        const m = JSON.parse(data);
        if (m.type === 'open') w.opens.push(m);
        return super.send(data);
      }
      w.sent += data.length;
      w.position += data.length;
      w.beyond = Math.max(w.beyond, w.position - w.edge);
      if (damage(w, w.messages++)) {
        data = data.slice();
        data[data.length >> 1] ^= 1;
      }
      super.send(data);
      w.buffered = Math.max(w.buffered, this.bufferedAmount - w.window);
    }
  };
})();
