use std::sync::Arc;

use crate::codec::Problem;
use crate::codec::value::{MAX_BYTES, MAX_VALUES, TooMuch, Value};

/// What the opcodes made: values that refer to each other by place, so that sharing and circles cost nothing.
#[derive(Debug)]
pub(super) struct Heap {
    nodes: Vec<Node>,
    pub(super) root: Id,
    shared: Shared,
}

/// Those that were met more than once: a bit each.
#[derive(Debug, Default)]
struct Shared(Vec<u64>);

impl Shared {
    fn insert(&mut self, Id(index): Id) {
        let place = index as usize / 64;
        if place >= self.0.len() {
            self.0.resize(place + 1, 0);
        }
        self.0[place] |= 1 << (index % 64);
    }

    fn contains(&self, Id(index): Id) -> bool {
        self.0.get(index as usize / 64).is_some_and(|bits| bits & (1 << (index % 64)) != 0)
    }
}

/// The place of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Id(u32);

#[derive(Debug)]
pub(super) enum Node {
    Leaf(Value),
    List(Vec<Id>),
    Tuple(Vec<Id>),
    Set(Vec<Id>),
    FrozenSet(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// Module and name of a class or function.
    Global(Box<(Arc<str>, Arc<str>)>),
    Call(Box<Call>),
    /// Its value is being made; or is, and no one else asks for it.
    Taken,
    /// It is shared, and its value is made.
    Made(Box<Made>),
    /// Its value holds too much.
    TooMuch(TooMuch),
}

/// The value of a node, what it takes of the budget, and the levels below it.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) value: Value,
    pub(super) values: u32,
    pub(super) bytes: u32,
    pub(super) levels: u8,
}

/// A call of a global, as an object tells how to make it anew. It is never made.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) callable: Id,
    pub(super) args: Id,
    pub(super) kwargs: Option<Id>,
    pub(super) state: Option<Id>,
    pub(super) items: Vec<Id>,
    pub(super) entries: Vec<(Id, Id)>,
}

impl Heap {
    pub(super) fn node(&self, id: Id) -> &Node {
        &self.nodes[id.0 as usize] // ids are made with their nodes
    }

    /// What it is made of, for whoever makes its value.
    pub(super) fn take(&mut self, id: Id) -> Node {
        self.put(id, Node::Taken)
    }

    pub(super) fn put(&mut self, id: Id, node: Node) -> Node {
        std::mem::replace(&mut self.nodes[id.0 as usize], node)
    }

    /// Whether it is more than a leaf, and met more than once.
    pub(super) fn is_shared(&self, id: Id) -> bool {
        self.shared.contains(id)
    }

    pub(super) fn root_entries(&self) -> Option<&[(Id, Id)]> {
        match self.node(self.root) {
            Node::Dict(entries) => Some(entries),
            _ => None,
        }
    }

    pub(super) fn text(&self, id: Id) -> Option<&str> {
        match self.node(id) {
            Node::Leaf(value) => value.as_text(),
            _ => None,
        }
    }
}

/// Runs the opcodes of a pickle: a loop without recursion, whose memory is bounded by the bytes it reads.
pub(super) fn run(bytes: &[u8]) -> Result<Heap, Problem> {
    if bytes.len() > MAX_BYTES {
        return Err(Problem(format!("it has {} bytes, more than {MAX_BYTES}", bytes.len())));
    }
    let mut machine = Machine {
        bytes,
        at: 0,
        nodes: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: Vec::new(),
        memoised: 0,
        shared: Shared::default(),
    };
    loop {
        let [opcode] = machine.array()?;
        if opcode == b'.' {
            let root = machine.pop()?;
            return Ok(Heap { nodes: machine.nodes, root, shared: machine.shared });
        }
        match machine.constant(opcode)? {
            Some(value) => machine.push(Node::Leaf(value))?,
            None => machine.act(opcode)?,
        }
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    nodes: Vec<Node>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: Vec<Option<Id>>,
    /// How many places of the memo are taken: where the next one without a number goes.
    memoised: usize,
    shared: Shared,
}

/// Each of the machine's own lists has as many places as a payload may have values; honest ones need far fewer.
fn check_room<T>(list: &[T]) -> Result<(), Problem> {
    if list.len() < MAX_VALUES { Ok(()) } else { Err(Problem(format!("it holds more than {MAX_VALUES} values"))) }
}

fn add<T>(items: &mut Vec<T>, more: Vec<T>) {
    make_room(items, more.len());
    items.extend(more);
}

/// By a quarter: the largest list would take too much if it became twice as long.
fn make_room<T>(items: &mut Vec<T>, more: usize) {
    if items.capacity() - items.len() < more {
        items.reserve_exact(more.max(items.len() / 4 + 16));
    }
}

fn broken(what: &str) -> Problem {
    Problem(format!("the pickle is broken: {what}"))
}

fn pairs(ids: &[Id]) -> Result<Vec<(Id, Id)>, Problem> {
    let (pairs, rest) = ids.as_chunks::<2>();
    if rest.is_empty() {
        Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect())
    } else {
        Err(broken("a key has no value"))
    }
}

// Reading bytes.
impl<'a> Machine<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Problem> {
        let end = self.at.checked_add(len).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| broken("it ends too soon"))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Problem> {
        self.take(N)?.try_into().map_err(|_| broken("it ends too soon"))
    }

    /// A number of `N` bytes, the low one first.
    fn number<const N: usize>(&mut self) -> Result<usize, Problem> {
        let mut wide = [0; 8];
        wide[..N].copy_from_slice(&self.array::<N>()?);
        usize::try_from(u64::from_le_bytes(wide)).map_err(|_| broken("a length is too large"))
    }

    /// As many bytes as a number of `N` bytes says.
    fn counted<const N: usize>(&mut self) -> Result<&'a [u8], Problem> {
        let len = self.number::<N>()?;
        self.take(len)
    }

    /// The rest of a line, for protocol 0.
    fn line(&mut self) -> Result<&'a str, Problem> {
        let rest = &self.bytes[self.at..];
        let len = rest.iter().position(|byte| *byte == b'\n').ok_or_else(|| broken("a line has no end"))?;
        self.at += len + 1;
        std::str::from_utf8(&rest[..len]).map_err(|_| broken("a line is no text"))
    }

    fn escaped_line(&mut self) -> Result<Value, Problem> {
        let rest = &self.bytes[self.at..];
        let len = rest.iter().position(|byte| *byte == b'\n').ok_or_else(|| broken("a line has no end"))?;
        self.at += len + 1;
        Ok(unescaped(&rest[..len]))
    }

    fn decimal(&mut self) -> Result<usize, Problem> {
        self.line()?.parse().map_err(|_| broken("a number is none"))
    }
}

/// A text as Python writes it; one with lone surrogates is no text for Rust.
fn text(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::text(text),
        Err(_) => Value::Unread("a text with lone surrogates".into()),
    }
}

/// Latin-1 with `\u` and `\U`, as protocol 0 has it.
fn unescaped(mut bytes: &[u8]) -> Value {
    let mut text = String::new();
    while let [first, rest @ ..] = bytes {
        let digits = match rest.first() {
            Some(b'u') if *first == b'\\' => rest.get(1..5),
            Some(b'U') if *first == b'\\' => rest.get(1..9),
            _ => None,
        };
        let code = digits.and_then(|digits| u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        let (character, len) = match (code, digits) {
            (Some(code), Some(digits)) => (char::from_u32(code), digits.len() + 2),
            _ => (Some(char::from(*first)), 1),
        };
        match character {
            Some(character) => text.push(character),
            None => return Value::Unread("a text with lone surrogates".into()),
        }
        bytes = &bytes[len..];
    }
    Value::text(&text)
}

// Opcodes that push a value without looking at the stack.
impl Machine<'_> {
    fn constant(&mut self, opcode: u8) -> Result<Option<Value>, Problem> {
        Ok(Some(match opcode {
            b'N' => Value::None,
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            b'K' => Value::integer(&[self.array::<1>()?[0], 0]),
            b'M' => Value::Int(u16::from_le_bytes(self.array()?).into()),
            b'J' => Value::Int(i32::from_le_bytes(self.array()?).into()),
            0x8a => Value::integer(self.counted::<1>()?),
            0x8b => Value::integer(self.counted::<4>()?),
            b'I' => self.integer_line()?,
            b'L' => self.long_line()?,
            b'G' => Value::Float(f64::from_be_bytes(self.array()?)),
            b'F' => Value::Float(self.line()?.parse().map_err(|_| broken("a float is none"))?),
            0x8c => text(self.counted::<1>()?),
            b'X' => text(self.counted::<4>()?),
            0x8d => text(self.counted::<8>()?),
            b'V' => self.escaped_line()?,
            b'C' => Value::Bytes(self.counted::<1>()?.into()),
            b'B' => Value::Bytes(self.counted::<4>()?.into()),
            0x8e => Value::Bytes(self.counted::<8>()?.into()),
            0x96 => Value::ByteArray(self.counted::<8>()?.into()),
            _ => return Ok(None),
        }))
    }

    /// `I01` and `I00` are true and false.
    fn integer_line(&mut self) -> Result<Value, Problem> {
        match self.line()? {
            "01" => Ok(Value::Bool(true)),
            "00" => Ok(Value::Bool(false)),
            digits => integer(digits),
        }
    }

    fn long_line(&mut self) -> Result<Value, Problem> {
        let digits = self.line()?;
        integer(digits.strip_suffix('L').unwrap_or(digits))
    }
}

fn integer(digits: &str) -> Result<Value, Problem> {
    Value::integer_of_digits(digits).ok_or_else(|| broken("an integer is none, or has more than 4300 digits"))
}

// Opcodes that work on the stack.
impl Machine<'_> {
    fn act(&mut self, opcode: u8) -> Result<(), Problem> {
        match opcode {
            0x80 => self.protocol(),
            0x95 => self.take(8).map(drop), // a frame's length: nothing is read ahead here
            b'(' => {
                check_room(&self.marks)?;
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'0' => self.discard(),
            b'1' => self.since_mark().map(drop),
            b'2' => self.top().and_then(|id| self.push_again(id)),
            b']' => self.push(Node::List(Vec::new())),
            b')' => self.push(Node::Tuple(Vec::new())),
            b'}' => self.push(Node::Dict(Vec::new())),
            0x8f => self.push(Node::Set(Vec::new())),
            0x85 => self.tuple(1),
            0x86 => self.tuple(2),
            0x87 => self.tuple(3),
            b't' => self.collect(Node::Tuple),
            b'l' => self.collect(Node::List),
            0x91 => self.collect(Node::FrozenSet),
            b'd' => self.since_mark().and_then(|ids| pairs(&ids)).and_then(|ids| self.push(Node::Dict(ids))),
            b'a' => self.pop().and_then(|id| self.extend(vec![id])),
            b'e' | 0x90 => self.since_mark().and_then(|ids| self.extend(ids)),
            b's' => self.set_item(),
            b'u' => self.since_mark().and_then(|ids| pairs(&ids)).and_then(|ids| self.set_items(ids)),
            0x94 => self.memoise(self.memoised),
            b'q' => self.number::<1>().and_then(|index| self.memoise(index)),
            b'r' => self.number::<4>().and_then(|index| self.memoise(index)),
            b'p' => self.decimal().and_then(|index| self.memoise(index)),
            b'h' => self.number::<1>().and_then(|index| self.recall(index)),
            b'j' => self.number::<4>().and_then(|index| self.recall(index)),
            b'g' => self.decimal().and_then(|index| self.recall(index)),
            b'c' => self.global_lines(),
            0x93 => self.global_on_stack(),
            b'R' | 0x81 => self.call(false),
            0x92 => self.call(true),
            b'i' => self.global_lines().and_then(|()| self.old_instance()),
            b'o' => self.old_object(),
            b'b' => self.build(),
            _ => Err(unknown(opcode, self.at - 1)),
        }
    }

    fn protocol(&mut self) -> Result<(), Problem> {
        match self.array()? {
            [0..=5] => Ok(()),
            [other] => Err(Problem(format!("it is in pickle's protocol {other}; 0 to 5 are known here"))),
        }
    }

    fn push(&mut self, node: Node) -> Result<(), Problem> {
        check_room(&self.nodes)?;
        make_room(&mut self.nodes, 1);
        let id = u32::try_from(self.nodes.len()).map_err(|_| broken("it has too many values"))?;
        self.nodes.push(node);
        self.push_id(Id(id))
    }

    fn push_id(&mut self, id: Id) -> Result<(), Problem> {
        check_room(&self.stack)?;
        self.stack.push(id);
        Ok(())
    }

    fn push_again(&mut self, id: Id) -> Result<(), Problem> {
        if !matches!(self.nodes[id.0 as usize], Node::Leaf(_)) {
            self.shared.insert(id);
        }
        self.push_id(id)
    }

    /// Where the stack begins after the last mark: no opcode reaches below.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Result<Id, Problem> {
        match self.stack.last() {
            Some(id) if self.stack.len() > self.floor() => Ok(*id),
            _ => Err(broken("its stack is empty")),
        }
    }

    fn pop(&mut self) -> Result<Id, Problem> {
        let id = self.top()?;
        self.stack.pop();
        Ok(id)
    }

    fn discard(&mut self) -> Result<(), Problem> {
        if self.stack.len() == self.floor() && self.marks.pop().is_some() {
            return Ok(());
        }
        self.pop().map(drop)
    }

    fn since_mark(&mut self) -> Result<Vec<Id>, Problem> {
        let start = self.marks.pop().ok_or_else(|| broken("it has no mark"))?;
        Ok(self.stack.split_off(start))
    }

    fn collect(&mut self, make: impl FnOnce(Vec<Id>) -> Node) -> Result<(), Problem> {
        let ids = self.since_mark()?;
        self.push(make(ids))
    }

    fn tuple(&mut self, len: usize) -> Result<(), Problem> {
        let start = self.stack.len().checked_sub(len).filter(|start| *start >= self.floor());
        let start = start.ok_or_else(|| broken("its stack is empty"))?;
        let ids = self.stack.split_off(start);
        self.push(Node::Tuple(ids))
    }

    fn top_node(&mut self) -> Result<&mut Node, Problem> {
        let Id(index) = self.top()?;
        Ok(&mut self.nodes[index as usize])
    }

    fn extend(&mut self, ids: Vec<Id>) -> Result<(), Problem> {
        match self.top_node()? {
            Node::List(items) | Node::Set(items) => add(items, ids),
            Node::Call(call) => add(&mut call.items, ids),
            _ => return Err(broken("items are added to what has none")),
        }
        Ok(())
    }

    fn set_item(&mut self) -> Result<(), Problem> {
        let (value, key) = (self.pop()?, self.pop()?);
        self.set_items(vec![(key, value)])
    }

    fn set_items(&mut self, ids: Vec<(Id, Id)>) -> Result<(), Problem> {
        match self.top_node()? {
            Node::Dict(entries) => add(entries, ids),
            Node::Call(call) => add(&mut call.entries, ids),
            _ => return Err(broken("entries are added to what has none")),
        }
        Ok(())
    }

    /// Python numbers the memo from 0 without gaps: an index beyond the bytes read makes no room.
    fn memoise(&mut self, index: usize) -> Result<(), Problem> {
        let id = self.top()?;
        if index >= self.at || index >= MAX_VALUES {
            return Err(broken("a place in the memo is too far"));
        }
        if index >= self.memo.len() {
            self.memo.resize(index + 1, None);
        }
        self.memoised += usize::from(self.memo[index].is_none());
        self.memo[index] = Some(id);
        Ok(())
    }

    fn recall(&mut self, index: usize) -> Result<(), Problem> {
        let id = self.memo.get(index).copied().flatten().ok_or_else(|| broken("a place in the memo is empty"))?;
        self.push_again(id)
    }
}

fn unknown(opcode: u8, at: usize) -> Problem {
    let what = match opcode {
        b'S' | b'T' | b'U' => "a text of Python 2".to_owned(),
        b'P' | b'Q' => "a persistent id".to_owned(),
        0x82..=0x84 => "an extension's code".to_owned(),
        0x97 | 0x98 => "a buffer outside of the pickle".to_owned(),
        _ => return broken(&format!("byte {at} is no opcode: {opcode:#04x}")),
    };
    Problem(format!("it has {what}, which can't be read here"))
}

// Globals and calls.
impl Machine<'_> {
    /// The names are shared, not copied: a few bytes can push a long one often.
    fn global(&mut self, module: Arc<str>, name: Arc<str>) -> Result<(), Problem> {
        // Names of Python 2, which the older protocols use.
        let module = match &*module {
            "__builtin__" | "exceptions" => "builtins".into(),
            "copy_reg" => "copyreg".into(),
            _ => module,
        };
        self.push(Node::Global(Box::new((module, name))))
    }

    fn global_lines(&mut self) -> Result<(), Problem> {
        let (module, name) = (self.line()?, self.line()?);
        self.global(module.into(), name.into())
    }

    fn global_on_stack(&mut self) -> Result<(), Problem> {
        let (name, module) = (self.pop_text()?, self.pop_text()?);
        self.global(module, name)
    }

    fn pop_text(&mut self) -> Result<Arc<str>, Problem> {
        let Id(index) = self.pop()?;
        match &self.nodes[index as usize] {
            Node::Leaf(Value::Text(text)) => Ok(Arc::clone(text)),
            _ => Err(broken("a name is no text")),
        }
    }

    fn call(&mut self, with_kwargs: bool) -> Result<(), Problem> {
        let kwargs = if with_kwargs { Some(self.pop()?) } else { None };
        let (args, callable) = (self.pop()?, self.pop()?);
        self.push_call(callable, args, kwargs)
    }

    fn push_call(&mut self, callable: Id, args: Id, kwargs: Option<Id>) -> Result<(), Problem> {
        let (items, entries) = (Vec::new(), Vec::new());
        self.push(Node::Call(Box::new(Call { callable, args, kwargs, state: None, items, entries })))
    }

    /// The class is on top, its arguments since the mark below.
    fn old_instance(&mut self) -> Result<(), Problem> {
        let class = self.pop()?;
        self.collect(Node::Tuple)?;
        let args = self.pop()?;
        self.push_call(class, args, None)
    }

    /// Class and arguments since the mark.
    fn old_object(&mut self) -> Result<(), Problem> {
        let mut ids = self.since_mark()?;
        if ids.is_empty() {
            return Err(broken("an object has no class"));
        }
        let class = ids.remove(0);
        self.push(Node::Tuple(ids))?;
        let args = self.pop()?;
        self.push_call(class, args, None)
    }

    fn build(&mut self) -> Result<(), Problem> {
        let state = self.pop()?;
        match self.top_node()? {
            Node::Call(call) => {
                call.state = Some(state);
                Ok(())
            }
            _ => Err(broken("a state is given to what has none")),
        }
    }
}
