// Loaded into the tool by NODE_OPTIONS: what it asks of login.microsoftonline.com is answered by the sandbox, and nothing
// that it sends by TLS leaves this machine. The tool itself is as it was installed.
const http = require('node:http');
const https = require('node:https');

const standIn = new URL(process.env.ENTRA_STAND_IN);
const nobody = { host: '127.0.0.1', port: 9 };

https.request = (first, second, third) => {
  const url = typeof first === 'string' || first instanceof URL ? new URL(first) : null;
  const options = url ? { ...(typeof second === 'object' ? second : {}) } : first;
  const host = url ? url.hostname : options.hostname || options.host;
  if (host !== 'login.microsoftonline.com' && host !== standIn.hostname) {
    return http.request(nobody);
  }
  const path = url ? url.pathname + url.search : options.path;
  const done = [second, third].find((argument) => typeof argument === 'function');
  return http.request(
    {
      host: standIn.hostname,
      port: standIn.port,
      // The tenant of the Bot Framework is a name that the sandbox does not know.
      path: path.replace('/botframework.com/', `/${process.env.ENTRA_TENANT}/`),
      method: options.method,
      headers: options.headers,
    },
    done,
  );
};
https.get = (...request) => {
  const made = https.request(...request);
  made.end();
  return made;
};
