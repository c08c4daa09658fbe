//! Addresses that want to be taken for others.

/// Hosts that get tokens, or files are fetched from. Each is dressed up in every way of [`DRESSES`].
const HOSTS: &[&str] = &[
    "smba.trafficmanager.net",
    "smba.infra.gcc.teams.microsoft.com",
    "webchat.botframework.com",
    "contoso.sharepoint.com",
    "account.services.ai.azure.com",
    "account.openai.azure.com",
    "login.microsoftonline.com",
];

/// `{h}` is the host, `{u}` the same in upper case, `{w}` with wide dots, `{p}` what is behind its first dot.
const DRESSES: &[&str] = &[
    "https://{h}.evil.example/",
    "https://{h}.evil.example/amer/",
    "https://{u}.EVIL.EXAMPLE/",
    "https://evil-{h}/",
    "https://evil{h}/",
    "https://evil.{p}/",
    "https://evil.example.{p}/",
    "https://{p}/",
    "https://{h}@evil.example/",
    "https://user:{h}@evil.example/",
    "https://{h}:443@evil.example/",
    "https://{h}%23@evil.example/",
    "https://{h}%2f@evil.example/",
    "https://{h}%40evil.example/",
    "https://{h}&@evil.example#@{h}/",
    "https://evil.example/{h}",
    "https://evil.example/?{h}",
    "https://evil.example/#{h}",
    "https://evil.example:443?@{h}/",
    "https://evil.example:443#@{h}/",
    "https://evil.example\\@{h}/",
    "https://evil.example%5c@{h}.evil.example/",
    "https://evil.example/..;/{h}",
    "https://{h}%2eevil.example/",
    "https://{h}%00.evil.example/",
    "https://{h}\t.evil.example/",
    "https://{h}\n.evil.example/",
    "https://{h};.evil.example/",
    "https://{h},evil.example/",
    "https://{h} evil.example/",
    "https://{w}\u{3002}evil.example/",
    "https://{h}\u{ff0f}@evil.example/",
    "https://{h}\u{2024}evil.example/",
    "https://{h}.nip.io/",
    "https://127.0.0.1.{h}.evil.example/",
    "https://xn--{h}-evil.example/",
    "http://{h}/",
    "https://{h}:8443/",
    "http://{h}:443/",
    "//{h}.evil.example/",
    "\\\\evil.example\\{h}",
    "https:evil.example/{h}",
    "https:///evil.example/{h}",
    "ftp://{h}/",
    "ws://{h}/",
    "blob:https://{h}/",
    "javascript:fetch('https://{h}/')",
    "data:text/html,https://{h}/",
];

/// Addresses of machines and of clouds, and forms that are none.
const OTHERS: &[&str] = &[
    "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01",
    "https://169.254.169.254/latest/meta-data/",
    "http://[fd00:ec2::254]/latest/meta-data/",
    "http://[::ffff:169.254.169.254]/metadata",
    "http://[64:ff9b::a9fe:a9fe]/metadata",
    "http://2852039166/metadata",
    "http://0xa9fea9fe/metadata",
    "http://0251.0376.0251.0376/metadata",
    "http://168.63.129.16/machine",
    "http://metadata.google.internal/computeMetadata/v1/",
    "http://10.0.0.1/",
    "http://172.16.0.1/",
    "http://192.168.0.1/",
    "http://100.64.0.1/",
    "http://0.0.0.0/",
    "http://[::]/",
    "http://[fe80::1]/",
    "http://localhost.evil.example/",
    "http://127.0.0.1.evil.example/",
    "http://127.0.0.1@evil.example/",
    "http://evil.example#127.0.0.1",
    "https://evil.trafficmanager.net/",
    "https://evil.azurewebsites.net/",
    "https://evil.blob.core.windows.net/",
    "https://evil.web.core.windows.net/",
    "https://xn--smb-5cd.trafficmanager.net/",
    "https://xn--lgin-yqa.microsoftonline.com/",
    "https://\u{441}ontoso.sharepoint.com.evil.example/",
    "https://evil.example:99999/",
    "https://[::1/",
    "https://%zz/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_FLUSHALL",
    "dict://127.0.0.1:11211/",
    "ldap://evil.example/",
    "jar:https://evil.example/a!/",
    "about:blank",
    "mailto:a@evil.example",
    "https://",
    "https://.",
    "//",
    " ",
];

/// All of them, none twice.
pub(super) fn urls() -> Vec<String> {
    let mut urls: Vec<String> = OTHERS.iter().map(|url| (*url).to_owned()).collect();
    for host in HOSTS {
        let parent = host.split_once('.').map_or(*host, |(_, parent)| parent);
        urls.extend(DRESSES.iter().map(|dress| {
            dress
                .replace("{h}", host)
                .replace("{u}", &host.to_uppercase())
                .replace("{w}", &host.replace('.', "\u{ff0e}"))
                .replace("{p}", parent)
        }));
    }
    urls.sort_unstable();
    urls.dedup();
    urls
}
