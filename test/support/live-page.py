"""A web application for browser tests: a page whose WebSocket reconnects, and says who answered how often."""
import base64
import hashlib
import http.server
import os

PAGE = b"""<!doctype html><title>live</title><h1>served from inside</h1><p id="said"></p><script>
function open() {
  const socket = new WebSocket(`wss://${location.host}/live`);
  socket.onmessage = (event) => { document.getElementById("said").textContent = event.data; };
  socket.onclose = () => setTimeout(open, 100);
}
open();
</script>"""

connections = 0


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/live":
            self.speak()
        elif self.path == "/seen":
            self.answer(repr(dict(self.headers)).encode(), "text/plain")
        else:
            self.answer(PAGE, "text/html")

    def answer(self, body, kind):
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        # What no sprite may set: a login of its own making, and a cookie for its siblings.
        self.send_header("set-cookie", "__Host-sprite-session=forged; Path=/; Secure")
        self.send_header("set-cookie", "tossed=1; Domain=sprites.localhost; Path=/")
        self.end_headers()
        self.wfile.write(body)

    def speak(self):
        global connections
        connections += 1
        key = self.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        self.send_response(101)
        self.send_header("upgrade", "websocket")
        self.send_header("connection", "Upgrade")
        self.send_header("sec-websocket-accept", accept)
        self.end_headers()
        text = f"{os.getpid()} {connections}".encode()
        self.wfile.write(bytes([0x81, len(text)]) + text)
        self.wfile.flush()
        # Until the browser or the server in front of us hangs up.
        while self.connection.recv(1024):
            pass
        self.close_connection = True

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("0.0.0.0", 8080), Handler).serve_forever()
