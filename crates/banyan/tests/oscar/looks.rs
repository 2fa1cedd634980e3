//! The old shop's pages in a real Chromium, through the gateway, as its shopper and its staff see them: before anything has
//! moved, while Banyan decides, and once nobody keeps the old columns. The pictures are in the target folder, under
//! `tmp/screens/oscar`.

use crate::stand::{Stand, Way};
use banyan_testkit::oscar::ADMINISTRATOR;
use banyan_testkit::{Chromium, Look, Window};
use std::path::Path;

/// A person with a browser, at the shop's public address.
pub(crate) struct Person {
    window: Window,
    shop: String,
}

impl Person {
    pub(crate) fn at(way: &Way) -> Self {
        let desk = Look { width: 1440, height: 900, dark: false };
        let window = Chromium::new().and_then(|chromium| chromium.open(desk));
        Self { window: window.expect("Chromium is installed where the tests run"), shop: way.shop() }
    }

    /// Looks at a product's page, which says `availability`.
    #[track_caller]
    pub(crate) fn looks_at(&mut self, stand: &Stand, sku: &str, availability: &str, picture: &str) {
        // The shop leads from any name to the product's own.
        self.go(&format!("/catalogue/product_{}/", stand.product(sku)));
        self.window.sees(availability).expect("the page says what there is");
        self.picture(picture);
    }

    /// Puts a product into the basket with the page's own button.
    #[track_caller]
    pub(crate) fn puts_into_the_basket(&mut self, stand: &Stand, sku: &str, picture: &str) {
        self.go(&format!("/catalogue/product_{}/", stand.product(sku)));
        self.window.click("#add_to_basket_form button[type=submit]").expect("there is a button");
        self.window.sees("has been added to your").expect("the shop says so");
        self.go("/basket/");
        self.window.sees("Proceed to checkout").expect("there is something in it");
        self.picture(picture);
    }

    /// Signs in to the dashboard, counts a product anew in its form there, and looks at the form again.
    #[track_caller]
    pub(crate) fn counts_in_the_dashboard(&mut self, stand: &Stand, sku: &str, units: i64, picture: &str) {
        let password = stand.oscar.password().expect("a password");
        self.go("/dashboard/login/");
        self.window.fill("input[name=username]", ADMINISTRATOR).expect("a field");
        self.window.fill("input[name=password]", &password).expect("a field");
        self.window.click("#dashboard_login_form [type=submit]").expect("a button");
        self.window.sees("Dashboard").expect("signed in");
        let form = format!("/dashboard/catalogue/products/{}/", stand.product(sku));
        self.go(&form);
        // The field is on a tab of the form that is not shown first; the form is the page's own, and so is its button.
        let counts = format!(
            "(() => {{ const field = document.querySelector('[name=\"stockrecords-0-num_in_stock\"]'); \
             field.value = '{units}'; field.form.querySelector('button[value=save]').click(); return true; }})()"
        );
        self.window.wait_for("the form to be sent", &counts).expect("the form has the field");
        self.window
            .wait_for("the list of products", "location.pathname === '/dashboard/catalogue/'")
            .expect("it is saved");
        self.go(&form);
        let shows =
            format!("document.querySelector('[name=\"stockrecords-0-num_in_stock\"]')?.value === '{units}'");
        self.window.wait_for("the form to show it", &shows).expect("what was counted");
        self.picture(picture);
    }

    #[track_caller]
    fn go(&mut self, path: &str) {
        self.window.go(&format!("{}{path}", self.shop)).expect("the page opens");
    }

    #[track_caller]
    fn picture(&mut self, name: &str) {
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("screens/oscar/{name}.png"));
        self.window.picture(&file).expect("a picture");
    }
}
