// The server: requests, and the stream of changes.
class ServerError extends Error {
  constructor({ message, hint }) {
    super([message, hint].filter(Boolean).join(" "));
  }
}

const UNREACHABLE = { message: "addsr does not answer.", hint: "If you have ended it, start addsr serve again." };

/** Sends a request and returns the JSON of the answer. Throws ServerError with sentences for people. */
async function ask(method, path, { json, body } = {}) {
  const options = { method, body };
  if (json !== undefined) Object.assign(options, { body: JSON.stringify(json), headers: { "Content-Type": "application/json" } });
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new ServerError(UNREACHABLE);
  }
  if (answer.status === 204) return undefined;
  const data = await answer.json().catch(() => ({ error: UNREACHABLE }));
  if (!answer.ok) throw new ServerError(data.error ?? UNREACHABLE);
  return data;
}

/** Runs a request and shows what went wrong. */
async function attempt(...request) {
  try {
    return await ask(...request);
  } catch (error) {
    tell(error.message);
    return undefined;
  }
}

const photoPath = (photo, what = "") => `/api/photos/${photo.id}${what && `/${what}`}`;

/** Calls `handlers[event](data)` for every event of the server; says when it is gone. */
function connect(handlers) {
  const stream = new EventSource("/api/events");
  const offline = $("#offline");
  let timer;
  for (const [name, handle] of Object.entries(handlers)) {
    stream.addEventListener(name, (event) => handle(JSON.parse(event.data)));
  }
  stream.addEventListener("open", () => {
    clearTimeout(timer);
    offline.hidden = true;
  });
  stream.addEventListener("error", () => {
    const over = stream.readyState === EventSource.CLOSED;
    const text = over
      ? "This page is no longer valid. Open the address that addsr serve prints in the terminal."
      : "addsr does not answer. If you have ended it, start addsr serve again and open the address that it prints.";
    clearTimeout(timer);
    timer = setTimeout(() => {
      offline.textContent = text;
      offline.hidden = false;
    }, over ? 0 : 1500);
  });
}
