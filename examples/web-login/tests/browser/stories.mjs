// A person in front of Chromium: signs in and out, cancels, and tries what an attacker would. Prints one JSON line a step.
// Usage: PEERS_NODE_MODULES=… node stories.mjs ADDRESS [SCREENSHOT]
import { createRequire } from 'node:module';
import { strict as assert } from 'node:assert';

const [address, screenshot] = process.argv.slice(2);
const require = createRequire(`${process.env.PEERS_NODE_MODULES}/`);
const { chromium } = require('playwright-core');

const ONE = { name: 'User One', oid: '11111111-0000-4000-8000-000000000001', story: 'found a printer' };
const TWO = { name: 'User Two', oid: '22222222-0000-4000-8000-000000000002', story: 'was in so many groups' };

const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: process.getuid?.() === 0 ? ['--no-sandbox'] : [],
});
const done = (step) => console.log(JSON.stringify({ step }));
const complaints = [];

// A browser of its own: no cookie is shared.
async function person() {
    const context = await browser.newContext();
    context.setDefaultTimeout(20_000);
    const page = await context.newPage();
    page.on('console', (message) => {
        // Nobody has an icon.
        const icon = message.location().url.endsWith('/favicon.ico');
        if (message.type() === 'error' && !icon) complaints.push(message.text());
    });
    page.on('pageerror', (error) => complaints.push(String(error)));
    return { context, page };
}

async function toEntra(page) {
    await page.goto(address);
    await page.getByRole('link', { name: 'Sign in' }).click();
    await page.getByRole('heading', { name: 'Sign in to Sandbox Web App' }).waitFor();
}

async function signIn(page, user) {
    await toEntra(page);
    let callback;
    page.on('request', (request) => {
        if (new URL(request.url()).pathname === '/auth/callback') callback = request.url();
    });
    await page.getByRole('button', { name: user.name }).click();
    await page.waitForURL('**/me');
    assert.equal(await page.getByRole('heading', { level: 1 }).textContent(), user.name);
    return callback;
}

const row = (page, table, name) =>
    page.locator(`#${table} tr`, { has: page.getByRole('rowheader', { name, exact: true }) }).getByRole('cell');

try {
    const one = await person();
    const callback = await signIn(one.page, ONE);
    assert.equal(await row(one.page, 'claims', 'oid').textContent(), ONE.oid);
    assert.equal(await one.page.locator('#group-count').textContent(), '2');
    await one.page.getByText('All staff').waitFor();
    assert.equal(await row(one.page, 'attributes', 'jobTitle').textContent(), 'Storyteller');
    done('user one sees claims, groups and attributes');
    if (screenshot) await one.page.screenshot({ path: screenshot, fullPage: true });

    await one.page.getByRole('link', { name: 'My story' }).click();
    assert.match(await one.page.locator('#story').textContent(), new RegExp(ONE.story));
    assert.equal(await one.page.evaluate(() => document.cookie), '', 'a script reads the cookie');
    const cookies = await one.context.cookies(address);
    assert.deepEqual(cookies.map(({ httpOnly, sameSite }) => [httpOnly, sameSite]), cookies.map(() => [true, 'Lax']));
    assert.ok(cookies.every(({ value }) => !value.includes('eyJ')), 'a token in a cookie');
    done('user one reads the story');

    const two = await person();
    await signIn(two.page, TWO);
    assert.equal(await two.page.locator('#group-count').textContent(), '232');
    await two.page.getByRole('link', { name: 'My story' }).click();
    const story = await two.page.locator('#story').textContent();
    assert.ok(story.includes(TWO.story) && !story.includes(ONE.name), story);
    await one.page.reload();
    assert.match(await one.page.locator('#story').textContent(), new RegExp(ONE.story));
    done('user two sees a story of their own');

    const again = await one.page.goto(callback);
    assert.equal(again.status(), 400);
    await one.page.getByText('That is not your sign-in').waitFor();
    done('a replayed callback is refused');

    const stranger = await person();
    await toEntra(stranger.page);
    const foreign = await stranger.page.goto(callback);
    assert.equal(foreign.status(), 400);
    await stranger.page.goto(new URL('/me', address).href);
    await stranger.page.getByRole('heading', { name: 'Sign in to Sandbox Web App' }).waitFor();
    done('a callback with a foreign state signs nobody in');

    const shy = await person();
    await toEntra(shy.page);
    await shy.page.getByRole('button', { name: 'Cancel' }).click();
    await shy.page.getByRole('heading', { name: 'No harm done' }).waitFor();
    await shy.page.getByRole('link', { name: 'go to the start' }).click();
    await shy.page.getByRole('link', { name: 'Sign in' }).waitFor();
    done('cancel shows a kind page');

    await one.page.goto(new URL('/me', address).href);
    await one.page.getByRole('button', { name: 'Sign out' }).click();
    await one.page.waitForURL(new URL('/', address).href);
    await one.page.getByRole('link', { name: 'Sign in' }).waitFor();
    const refused = await one.context.request.get(new URL('/api/story', address).href);
    assert.equal(refused.status(), 401);
    await one.page.goto(new URL('/story', address).href);
    await one.page.getByRole('heading', { name: 'Sign in to Sandbox Web App' }).waitFor();
    await two.page.reload();
    await two.page.locator('#story').waitFor();
    done('user one is signed out, user two is not');

    // The two 400 answers above are the only things a browser complains about: no blocked style, form or script.
    const expected = /status of 400/;
    assert.deepEqual(complaints.filter((text) => !expected.test(text)), []);
    done('no page breaks its own rules');
} finally {
    await browser.close();
}
