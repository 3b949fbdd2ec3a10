// An OpenID provider beside Tenure: the certified `oidc-provider`, whose people sign in without a page.
//   node oidc.mjs PORT CLIENT   serves the issuer http://127.0.0.1:PORT for a client (JSON); prints one line when it does
// The test says who signs in:
//   PUT /test/person  {"sub", "email", "email_verified", "name", "groups"}
import { createServer } from 'node:http';
import { Provider } from 'oidc-provider';

const [port, client] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
let person = { sub: 'nobody' };

const provider = new Provider(issuer, {
  clients: [JSON.parse(client)],
  cookies: { keys: ['of the tests'] },
  scopes: ['openid', 'profile', 'email', 'groups'],
  claims: { openid: ['sub'], profile: ['name'], email: ['email', 'email_verified'], groups: ['groups'] },
  features: {
    devInteractions: { enabled: false },
    // Its own page asks a host on the internet for a font.
    rpInitiatedLogout: {
      logoutSource(ctx, form) {
        ctx.body = `<!doctype html><title>Sign out</title><body>${form}<button type="submit" form="op.logoutForm" name="logout" value="yes">Yes</button>`;
      },
    },
  },
  pkce: { required: () => true },
  findAccount: (_, sub) => ({ accountId: sub, claims: () => ({ ...person, sub }) }),
  interactions: { url: (_, interaction) => `/test/interaction/${interaction.uid}` },
  // Nobody is asked whether the client may know what it asks for.
  async loadExistingGrant(ctx) {
    const grant = new provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId });
    grant.addOIDCScope('openid profile email groups');
    await grant.save();
    return grant;
  },
});

const serve = provider.callback();
const server = createServer(async (request, response) => {
  if (request.url === '/test/person') {
    let text = '';
    for await (const piece of request) text += piece;
    person = JSON.parse(text);
    response.end();
  } else if (request.url.startsWith('/test/interaction/')) {
    await provider.interactionFinished(request, response, { login: { accountId: person.sub } });
  } else {
    serve(request, response);
  }
});
server.listen(Number(port), '127.0.0.1', () => process.stdout.write('ready\n'));
