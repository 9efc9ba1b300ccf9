package folder

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// The special uses of RFC 6154 that salvor treats apart.
const (
	Junk  = `\Junk`
	Trash = `\Trash`
)

// junkNames are the names under which clients and servers make their junk
// folders, in the languages of Outlook and Exchange, Apple Mail, Thunderbird,
// Roundcube, Horde, Gmail, and of large providers.
var junkNames = []string{
	"Junk", "Junk Mail", "Junk E-mail", "Junk Email", "Junk Messages", "Spam", "Spam Mail", "Spambox", "Spam-Verdacht", "Spamverdacht",
	"Bulk", "Bulk Mail", "caughtspam", "Probably Spam", "Likely Spam",
	"Junk-E-Mail-Ordner", "Unerwünscht", "Unerwünschte Werbung", "Unerwünschte E-Mails", // German
	"Courrier indésirable", "Indésirable", "Indésirables", "Pourriel", "Pourriels", // French
	"Correo no deseado", "No deseado", "Correo basura", "Correo electrónico no deseado", // Spanish
	"Correu brossa", "Correu no desitjat", // Catalan
	"Posta indesiderata", "Indesiderata", // Italian
	"Lixo Eletrônico", "Lixo Electrónico", "Lixo eletrónico", "Correio Eletrónico Não Solicitado", "Publicidade não solicitada", // Portuguese
	"Ongewenste e-mail", "Ongewenst", "Ongewenste mail", "Ongewenste reclame", // Dutch
	"Skräppost",                                                                                    // Swedish
	"Søppelpost", "Søppel-e-post", "Uønsket", "Uønsket e-post", "Uønsket mail", "Uønskede e-mails", // Norwegian, Danish
	"Roskaposti",               // Finnish
	"Ruslpóstur",               // Icelandic
	"Rämpspost",                // Estonian
	"Mēstules", "Surogātpasts", // Latvian
	"Brukalas", "Šlamštas", "Nepageidaujami laiškai", // Lithuanian
	"Wiadomości-śmieci", "Niechciane", "Spamy", "Wiadomości śmieci", // Polish
	"Nevyžádaná pošta", "Nevyžiadaná pošta", // Czech, Slovak
	"Neželena pošta", "Neželjena pošta", "Bezvrijedna pošta", "Нежељена пошта", // Slovene, Croatian, Serbian
	"Levélszemét",                       // Hungarian
	"Mesaje nedorite", "E-mail nedorit", // Romanian
	"Ανεπιθύμητη αλληλογραφία", "Ανεπιθύμητα", // Greek
	"Önemsiz E-posta", "Önemsiz", "Gereksiz", "İstenmeyen", // Turkish
	"Нежелательная почта", "Спам", "Рассылки и спам", // Russian
	"Небажана пошта", "Небажана електронна пошта", // Ukrainian
	"Нежелана поща",   // Bulgarian
	"דואר זבל", "זבל", // Hebrew
	"البريد غير الهام", "بريد غير مرغوب فيه", "البريد المزعج", // Arabic
	"垃圾邮件", "垃圾郵件", "垃圾信件", "廣告信件", "广告邮件", // Chinese
	"迷惑メール", "スパム", // Japanese
	"정크 메일", "스팸", "스팸메일", "스팸 메일함", "정크메일", // Korean
	"อีเมลขยะ", "เมลขยะ", // Thai
	"Thư rác", "Email rác", // Vietnamese
}

// trashNames are those of the folders that clients move deleted mail to.
var trashNames = []string{
	"Trash", "Deleted", "Deleted Items", "Deleted Messages", "Bin", "Wastebasket", "Rubbish",
	"Papierkorb", "Gelöscht", "Gelöschte Elemente", "Gelöschte Objekte", "Gelöschte Nachrichten",
	"Corbeille", "Éléments supprimés", "Messages supprimés",
	"Papelera", "Elementos eliminados", "Mensajes eliminados", "Paperera",
	"Cestino", "Posta eliminata", "Elementi eliminati", "Messaggi eliminati",
	"Lixeira", "Lixo", "Itens Excluídos", "Itens Eliminados", "Reciclagem",
	"Prullenbak", "Prullenmand", "Verwijderde items", "Verwijderde berichten",
	"Papperskorg", "Papperskorgen", "Borttaget", "Papirkurv", "Papirkurven", "Slettet post", "Slettede elementer", "Roskakori", "Poistetut",
	"Kosz", "Elementy usunięte", "Usunięte", "Koš", "Odstraněná pošta", "Kôš", "Odstránená pošta", "Kuka", "Törölt elemek", "Coș de gunoi",
	"Koš za smeće", "Smeti", "Otpad", "Κάδος απορριμμάτων", "Διαγραμμένα", "Çöp Kutusu", "Çöp", "Silinmiş Öğeler",
	"Корзина", "Удаленные", "Удалённые", "Кошик", "Видалені", "Кошче",
	"已删除邮件", "已刪除的郵件", "回收站", "ゴミ箱", "ごみ箱", "削除済みアイテム", "휴지통", "지운 편지함",
}

// nfc makes composed and decomposed letters the same.
func nfc(s string) string { return norm.NFC.String(s) }

var junkKeys, trashKeys = keySet(junkNames), keySet(trashNames)

func keySet(names []string) map[string]bool {
	m := make(map[string]bool, len(names))
	for _, n := range names {
		m[nameKey(n)] = true
	}
	return m
}

// nameKey is what two spellings of one name share: case, width, accents,
// spaces and hyphens do not count.
func nameKey(name string) string {
	var b strings.Builder
	for _, r := range norm.NFKD.String(strings.ToLower(norm.NFKC.String(name))) {
		switch {
		case unicode.Is(unicode.Mn, r), unicode.IsSpace(r), unicode.Is(unicode.Pd, r), r == '_':
		case r == 'ı': // Turkish dotless i, what "I" becomes there
			b.WriteByte('i')
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// prefixes are the first levels below which a server shows a user's top-level
// folders.
var prefixes = map[string]bool{"inbox": true, "[gmail]": true, "[googlemail]": true}

// top is the key of a folder's first level that means something, and tells
// whether the folder is that level itself, not a child of it.
func top(name string) (key string, itself bool) {
	levels := strings.Split(name, "/")
	if len(levels) > 1 && prefixes[nameKey(levels[0])] {
		levels = levels[1:]
	}
	return nameKey(levels[0]), len(levels) == 1
}

// IsJunk tells whether a folder holds junk: by its special use where it has
// one, else by its name or that of the top-level folder it lies under. extra
// are further names.
func IsJunk(name, specialUse string, extra ...string) bool {
	return is(Junk, junkKeys, name, specialUse, extra)
}

// IsTrash tells whether a folder is where deleted mail goes, or lies under it.
func IsTrash(name, specialUse string) bool {
	return is(Trash, trashKeys, name, specialUse, nil)
}

func is(use string, keys map[string]bool, name, specialUse string, extra []string) bool {
	if specialUse != "" {
		return strings.EqualFold(specialUse, use)
	}
	key, _ := top(name)
	if keys[key] {
		return true
	}
	for _, e := range extra {
		if nameKey(e) == key {
			return true
		}
	}
	return false
}
