//! A list that is mostly short: its first items lie in place, without memory of their own. Every transfer needs some.

/// Items in the order in which they were pushed, the first `N` of them in place.
pub(super) struct Few<T, const N: usize> {
    first: [Option<T>; N],
    /// How many of them are there.
    count: usize,
    more: Vec<T>,
}

impl<T: Copy, const N: usize> Few<T, N> {
    pub(super) const fn new() -> Self {
        Self { first: [None; N], count: 0, more: Vec::new() }
    }

    /// Adds an item. Its place.
    pub(super) fn push(&mut self, item: T) -> usize {
        if let Some(room) = self.first.get_mut(self.count) {
            *room = Some(item);
            self.count += 1;
            return self.count - 1;
        }
        self.more.push(item);
        N + self.more.len() - 1
    }

    /// The place of the first item that is `wanted`.
    pub(super) fn position(&self, wanted: impl FnMut(&T) -> bool) -> Option<usize> {
        self.iter().position(wanted)
    }

    /// The item at a place that [`Self::push`] or [`Self::position`] gave.
    pub(super) fn at(&mut self, place: usize) -> &mut T {
        match self.first.get_mut(place) {
            Some(item) => item.as_mut().expect("places are given for items"),
            None => &mut self.more[place - N],
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.first[..self.count].iter().flatten().chain(&self.more)
    }
}

#[cfg(test)]
mod tests {
    use super::Few;

    #[test]
    fn items_are_found_on_both_sides_of_the_border() {
        let mut few = Few::<u32, 3>::new();
        for i in 0..8 {
            assert_eq!(few.push(10 + i), i as usize);
            assert_eq!(few.iter().count(), i as usize + 1);
        }
        for i in 0..8 {
            assert_eq!(few.position(|item| *item == 10 + i), Some(i as usize));
            *few.at(i as usize) += 100;
        }
        assert_eq!(few.position(|item| *item == 10), None);
        assert!(few.iter().copied().eq(110..118));
    }
}
