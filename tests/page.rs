//! The page of `--metrics` in a headless Chromium: what it shows while workers come and go, that nothing in it is
//! refused or comes from elsewhere, and that it fits a phone.

mod common;

use common::*;

#[test]
fn the_page_shows_live_what_goes_on() {
    let site = Site::new();
    let at = format!("{}:{}", site.host, site.ports(1)[0]);
    let mut balancer = Balancer::nodes(&site, 3, &["--metrics", &at]);
    let url = format!("http://{at}/");
    let mut page = Browser::open(&site, &url);
    page.until("document.documentElement?.dataset.looks >= 2");
    assert_eq!(page.value("document.querySelectorAll('tr.slot').length"), 3);
    assert_eq!(
        page.value("$('words').textContent"),
        "All 3 workers are ready"
    );
    let load = Load::start(site.to(), 2, 1, DEADLINE);
    page.until("parseFloat($('rate').textContent.replace(',', '')) > 1");
    page.until("[...document.querySelectorAll('td.rate b')].every((one) => parseFloat(one.textContent) > 0)");
    load.stop().clean();
    let listeners = page.value("$('listeners').textContent");
    assert!(
        listeners
            .as_str()
            .is_some_and(|text| text.contains(&site.bind())),
        "{listeners}"
    );
    // What an operator does is seen, in words, and who it is about.
    balancer.command(&["drain", "2"]).done();
    page.until("$('words').textContent === '1 of 3 workers is not ready' && document.title.startsWith('! 2/3 ')");
    let row = page.value("[...document.querySelectorAll('tr.slot')][2].textContent");
    assert!(
        row.as_str().is_some_and(|text| text.contains("drained")),
        "{row}"
    );
    page.value("$('show').value = 'unready'; $('show').dispatchEvent(new Event('change'))");
    assert_eq!(page.value("document.querySelectorAll('tr.slot').length"), 1);
    balancer.command(&["resume", "2"]).done();
    page.until("$('words').textContent === 'All 3 workers are ready'");
    page.value("$('show').value = 'all'; $('show').dispatchEvent(new Event('change'))");
    // In turn by a column, and back.
    page.value("document.querySelector('[data-key=slot]').click()");
    assert_eq!(
        page.value("document.querySelector('tr.slot td.id').textContent"),
        "2"
    );
    for (size, dark) in [
        ((1280, 900), false),
        ((1280, 900), true),
        ((360, 740), true),
        ((320, 600), false),
    ] {
        page.looks(size, dark);
        let wide = page
            .value("document.documentElement.scrollWidth - document.documentElement.clientWidth");
        assert_eq!(wide, 0, "at {size:?}");
    }
    assert_eq!(page.complaints, [""; 0]);
    assert!(page.requests.len() >= 3);
    let elsewhere = page
        .requests
        .iter()
        .filter(|one| !one.starts_with(&url) && !one.starts_with("data:"));
    assert_eq!(elsewhere.count(), 0, "{:?}", page.requests);
    balancer.signal(nix::sys::signal::Signal::SIGTERM);
    balancer.wait();
    page.until(
        "!document.querySelector('#lost[role=alert]').hidden && $('lost').textContent !== ''",
    );
    drop(page);
    balancer.nothing_left();
}
