// npm oidc-provider, unmodified, in the form of Entra: its paths, an issuer of a tenant, users with `tid` and `oid`.
// Usage: PEERS_NODE_MODULES=… node provider.mjs TENANT CLIENT SECRET REDIRECT_URI…
// Prints `listening PORT`, serves until its standard input ends.
import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [tenant, client, secret, ...redirects] = process.argv.slice(2);
const entry = join(process.env.PEERS_NODE_MODULES, 'oidc-provider', 'lib', 'index.js');
const { default: Provider } = await import(pathToFileURL(entry));

const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const key = { ...privateKey.export({ format: 'jwk' }), kid: 'first', use: 'sig', alg: 'RS256' };
const oid = (login) => `00000000-0000-4000-8000-${Buffer.from(login).toString('hex').padStart(12, '0').slice(-12)}`;

const server = createServer();
server.listen(0, '127.0.0.1', () => {
    const { port } = server.address();
    const provider = new Provider(`http://127.0.0.1:${port}/${tenant}/v2.0`, {
        clients: [{
            client_id: client,
            client_secret: secret,
            redirect_uris: redirects,
            grant_types: ['authorization_code', 'refresh_token'],
            response_types: ['code'],
            token_endpoint_auth_method: 'client_secret_post',
        }],
        jwks: { keys: [key] },
        cookies: { keys: ['public test value'] },
        scopes: ['openid', 'offline_access', 'User.Read', 'Mail.Read'],
        claims: { openid: ['sub'], profile: ['name', 'preferred_username', 'tid', 'oid', 'ver'] },
        conformIdTokenClaims: false,
        issueRefreshToken: () => true,
        rotateRefreshToken: true,
        pkce: { required: () => true },
        findAccount: (_context, id) => ({
            accountId: id,
            claims: () => ({
                sub: id, tid: tenant, oid: oid(id), ver: '2.0', name: `Somebody ${id}`, preferred_username: `${id}@example.org`,
            }),
        }),
        routes: {
            authorization: '/oauth2/v2.0/authorize',
            token: '/oauth2/v2.0/token',
            jwks: '/discovery/v2.0/keys',
            end_session: '/oauth2/v2.0/logout',
        },
    });
    const handle = provider.callback();
    server.on('request', (request, response) => {
        // Mounted below the tenant, as any framework would: the whole address stays in `originalUrl`.
        const prefix = [`/${tenant}/v2.0`, `/${tenant}`].find((prefix) => request.url.startsWith(`${prefix}/`));
        if (prefix === undefined) return response.writeHead(404).end();
        request.originalUrl = request.url;
        request.url = request.url.slice(prefix.length);
        return handle(request, response);
    });
    console.log(`listening ${port}`);
});
process.stdin.resume().on('end', () => process.exit(0));
