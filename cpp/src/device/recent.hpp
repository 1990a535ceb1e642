// Things by their names, of which those that were used least recently make room.
#pragma once

#include <list>
#include <string>
#include <utility>

namespace odise {

template <typename Value>
class Recent {
  public:
    explicit Recent(std::size_t most) : most_(most) {}

    // nullptr: there is none. A pointer is valid until something is put or erased.
    Value* find(const std::string& name) {
        for (auto one = kept_.begin(); one != kept_.end(); ++one) {
            if (one->first != name) continue;
            kept_.splice(kept_.begin(), kept_, one);
            return &kept_.front().second;
        }
        return nullptr;
    }

    Value& put(const std::string& name, Value value) {
        if (Value* old = find(name)) return *old = std::move(value);
        kept_.emplace_front(name, std::move(value));
        if (kept_.size() > most_) kept_.pop_back();
        return kept_.front().second;
    }

    template <typename Predicate>
    void erase_if(Predicate wrong) {
        kept_.remove_if([&](const auto& one) { return wrong(one.second); });
    }

    void clear() { kept_.clear(); }

  private:
    std::size_t most_;
    std::list<std::pair<std::string, Value>> kept_;
};

}  // namespace odise
