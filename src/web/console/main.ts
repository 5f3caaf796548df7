/** The console of `vitrine serve`: logs in with a token, which lasts as long as the tab (sessionStorage), and shows the rest. */
import { ApiClient } from '../../api/client.js';
import { ApiError } from '../../api/errors.js';
import { App } from './app.js';
import { BrowserTransport } from './browser-transport.js';
import { Feed } from './feed.js';
import { loginView } from './login-view.js';
import { messageOf, Notices } from './notices.js';

/** Where the tab keeps its token. */
const KEY = 'vitrine-token';

let app: App | undefined;

function logOut(reason?: string): void {
  sessionStorage.removeItem(KEY);
  app?.close();
  app = undefined;
  document.body.replaceChildren(loginView(enter, reason));
}

/** Resolves to why it is not possible. */
async function enter(token: string): Promise<string | undefined> {
  const client = new ApiClient(
    new BrowserTransport(token, () => {
      // While it is tried, the answer says so.
      if (app) logOut('The token is not good any more.');
    }),
  );
  // A header takes no other characters.
  if (!/^[\x21-\x7e]+$/.test(token)) return 'That is no token.';
  try {
    const info = await client.info();
    sessionStorage.setItem(KEY, token);
    const notices = new Notices();
    app = new App({ client, info, notices, feed: new Feed(client) }, () => logOut());
    document.body.replaceChildren(app.element);
    return undefined;
  } catch (error) {
    return error instanceof ApiError && error.status === 401
      ? 'The server does not know this token.'
      : messageOf(error);
  }
}

async function begin(): Promise<void> {
  const token = sessionStorage.getItem(KEY);
  const wrong = token === null ? '' : await enter(token);
  if (wrong !== undefined) document.body.replaceChildren(loginView(enter, wrong));
}

void begin();
