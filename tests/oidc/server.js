// A real OpenID provider for the tests of signing in: `node server.js CALLBACK…` listens on a free port of this machine,
// prints {"issuer": …} as its first line, and ends when its standard input does.
//
// Clients: "aegis" (with the secret "provider-secret"). Accounts are named by what is typed as the login: "ada" has a
// verified address ada@example.org, "uma" an unverified one, and so on; "nomail" has none. POST /rotate changes the keys.
import { createServer } from "node:http";
import { generateKeyPairSync, randomBytes } from "node:crypto";
import Provider from "oidc-provider";

const callbacks = process.argv.slice(2);

function key() {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  return { ...privateKey.export({ format: "jwk" }), use: "sig", alg: "RS256", kid: randomBytes(8).toString("hex") };
}

function claims(login) {
  if (login === "nomail") return { sub: login, name: "No Mail" };
  const name = login[0].toUpperCase() + login.slice(1);
  return { sub: login, name, email: `${login}@example.org`, email_verified: !login.startsWith("u") };
}

function make(issuer, keys) {
  const provider = new Provider(issuer, {
    clients: [{ client_id: "aegis", client_secret: "provider-secret", redirect_uris: callbacks, response_types: ["code"], grant_types: ["authorization_code"] }],
    jwks: { keys },
    cookies: { keys: [randomBytes(16).toString("hex")] },
    claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name"] },
    // As the standard has it: with an access token in hand, the address is asked for at the user info endpoint.
    conformIdTokenClaims: true,
    features: { devInteractions: { enabled: true } },
    pkce: { required: () => true },
    ttl: { AccessToken: 600, AuthorizationCode: 60, IdToken: 600, Interaction: 600, Grant: 600, Session: 600 },
    findAccount: async (_, login) => ({ accountId: login, claims: async () => claims(login) }),
  });
  return provider.callback();
}

const server = createServer();
server.listen(0, "127.0.0.1", () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  let handle = make(issuer, [key()]);
  server.on("request", (request, response) => {
    if (request.method === "POST" && request.url === "/rotate") {
      handle = make(issuer, [key()]);
      response.end("rotated\n");
    } else {
      handle(request, response);
    }
  });
  console.log(JSON.stringify({ issuer }));
});
process.stdin.on("end", () => process.exit(0)).resume();
