// An OpenID Connect provider for tests: node provider.js PORT REDIRECT_URI [userinfo]
// Whoever logs in as `anna` is of lab-team, `boss` of wardline-admins, anybody else of nothing.
import Provider from "oidc-provider";

const [port, redirect, where] = process.argv.slice(2);
const GROUPS = { anna: ["staff", "lab-team"], boss: ["wardline-admins"] };

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{ client_id: "wardline", client_secret: "a secret: with signs/+=", redirect_uris: [redirect] }],
  claims: { openid: ["sub"], profile: ["name", "preferred_username", "groups"] },
  conformIdTokenClaims: where === "userinfo",
  pkce: { required: () => true },
  cookies: { keys: ["for tests"] },
  findAccount: (context, id) => ({
    accountId: id,
    claims: () => ({ sub: id, name: `${id[0].toUpperCase()}${id.slice(1)} Bell`, preferred_username: id, groups: GROUPS[id] ?? [] }),
  }),
});
provider.listen(Number(port), "127.0.0.1", () => console.log("ready"));
